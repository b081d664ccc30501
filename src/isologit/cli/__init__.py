"""The command line: one file a command. Words, colour and progress live here."""

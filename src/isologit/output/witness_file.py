"""The file of witnesses that ``never-top --witnesses`` writes: states at which tokens win."""

from pathlib import Path

from safetensors.numpy import save

from isologit.never_top import WitnessStates
from isologit.never_top_findings import NeverTopFindings
from isologit.output.single_file import write_file


def write_witnesses(
    path: Path, found: WitnessStates, findings: NeverTopFindings, *, force: bool
) -> Path:
    """Write the states, ``[n, d]`` binary32, and whose they are.

    ``hidden_states`` holds h, or ``inner_states`` u of h = γ ⊙ u + β; ``token_ids`` is int32 [n].

    Raises
    ------
    OutputExistsError
        The file exists, and `force` does not apply.
    OutputWriteError
        The file system refused.
    """
    name = "inner_states" if found.inner else "hidden_states"
    metadata = {
        "isologit": findings.isologit,
        "matrix_sha256": findings.matrix.sha256,
        "tensor": findings.matrix.tensor,
        "domain": findings.domain.name,
        "states": findings.domain.why,
    }
    content = save({name: found.states, "token_ids": found.token_ids}, metadata)
    return write_file(path, content, force=force)

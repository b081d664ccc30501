"""The seed's job as a plain torch script: the steps of its notebook 1.5c, in its order, on the CPU.

    python benchmarks/seed_script.py W.safetensors CLUSTER_MEMBERS.safetensors OUT.safetensors

A peer to time a whole process against; nothing of isologit is used.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

matrix_path, members_path, out_path = map(Path, sys.argv[1:])

# W, and the cosine cluster to begin with.
W = load_file(matrix_path)["W"]
given = load_file(members_path)
members = given["cluster_token_ids"].long()
print(f"W {list(W.shape)}; cluster of {given['n_cluster_members'].item()} tokens")
print(f"cosine {given['cluster_cosine'].item():.8f}, first {members[:10].tolist()}")

# Its centroid, and the norms of its rows.
rows = W[members]
h = rows.mean(dim=0)
norms = rows.norm(dim=1)
print(f"norms {norms.min().item():.6f} {norms.max().item():.6f} {norms.mean().item():.6f}")
print(f"centroid {h.norm().item():.6f} in {h.dtype}")

# Logits of the vocabulary there.
with torch.no_grad():
    logits = W @ h
print(f"logits {logits.min():.8f} to {logits.max():.8f}")
print(f"mean {logits.mean():.8f}, median {logits.median():.8f}")

# The most common logit and its tokens; the largest logit.
values, counts = torch.unique(logits, return_counts=True)
most = counts.argmax()
in_class = logits == values[most]
class_ids = in_class.nonzero(as_tuple=True)[0]
share = 100 * len(class_ids) / len(W)
print(f"mode {values[most].item():.8f}: {len(class_ids)} tokens, {share:.2f}%")
print(f"first {class_ids[:20].tolist()}")
print(f"maximum {values[-1].item():.8f}: {(logits == logits.max()).sum().item()} tokens")

# How the class and the cluster overlap.
in_cluster = torch.zeros(len(W), dtype=torch.bool)
in_cluster[members] = True
both = (in_class & in_cluster).sum().item()
only_cluster = (in_cluster & ~in_class).sum().item()
only_class = (in_class & ~in_cluster).sum().item()
print(f"both {both}, cluster alone {only_cluster}, class alone {only_class}")
of_cluster, of_class = 100 * both / len(members), 100 * both / len(class_ids)
print(f"{of_cluster:.1f}% of the cluster, {of_class:.1f}% of the class")

# Distinct rows of the class.
distinct = len(torch.unique(W[class_ids], dim=0))
print(f"{distinct} distinct rows, {len(class_ids) / distinct:.1f} tokens each")

# The ten most common logits.
values, counts = torch.unique(logits, return_counts=True)
order = torch.argsort(counts, descending=True)
print(f"{len(values)} distinct logits, {100 * len(values) / len(W):.2f}%")
for n in order[:10]:
    print(f"  {values[n].item():.8f}: {counts[n].item()} tokens")

out_path.parent.mkdir(parents=True, exist_ok=True)
save_file(
    {
        "logit_equiv_mask": in_class.to(torch.uint8),
        "logit_equiv_token_ids": class_ids.to(torch.int32),
        "logit_equiv_dot_product": values[order[:1]].float(),
        "n_logit_equiv_members": torch.tensor([len(class_ids)], dtype=torch.int32),
        "cluster_centroid": h,
    },
    str(out_path),
)

"""The seed's job as a plain torch script: the steps of its notebook 1.5c, in its order, on the CPU.

    python benchmarks/seed_script.py W.safetensors CLUSTER_MEMBERS.safetensors OUT.safetensors

A peer to time a whole process against; nothing of isologit is used. The notebook's own statements
are kept, its headings and explanations are not.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Run the steps and print their figures."""
    tensor_path, cluster_path, output_path = map(Path, sys.argv[1:])

    W_bf16 = load_file(tensor_path)["W"]
    N, d = W_bf16.shape
    print(f"Token space: {N:,} tokens in {d:,} dimensions")

    cluster_data = load_file(cluster_path)
    cosine_cluster_token_ids = cluster_data["cluster_token_ids"].long()
    n_cosine_cluster = cluster_data["n_cluster_members"].item()
    print(f"Cluster size: {n_cosine_cluster:,} tokens")
    print(f"Shared cosine: {cluster_data['cluster_cosine'].item():.8f}")
    print(f"Token IDs (first 10): {cosine_cluster_token_ids[:10].tolist()}")

    W_cluster = W_bf16[cosine_cluster_token_ids]
    centroid_bf16 = W_cluster.mean(dim=0)
    cluster_norms = W_cluster.norm(dim=1)
    print(f"Centroid norm: {centroid_bf16.norm().item():.6f}")
    print(f"Member norms: {cluster_norms.min().item():.6f} to {cluster_norms.max().item():.6f}")
    print(f"  Mean: {cluster_norms.mean().item():.6f}")

    with torch.no_grad():
        dot_products_bf16 = W_bf16 @ centroid_bf16
    print(f"Range: [{dot_products_bf16.min():.8f}, {dot_products_bf16.max():.8f}]")
    print(f"Mean: {dot_products_bf16.mean():.8f}")
    print(f"Median: {dot_products_bf16.median():.8f}")

    unique_dots, counts = torch.unique(dot_products_bf16, return_counts=True)
    mode_idx = counts.argmax()
    mode_dot = unique_dots[mode_idx].item()
    print(f"Mode dot product: {mode_dot:.8f}, {counts[mode_idx].item():,} tokens")
    logit_equiv_mask = dot_products_bf16 == mode_dot
    logit_equiv_indices = logit_equiv_mask.nonzero(as_tuple=True)[0]
    n_logit_equiv = logit_equiv_indices.numel()
    print(f"{n_logit_equiv:,} tokens ({n_logit_equiv / N * 100:.2f}% of vocabulary)")
    print(f"Token IDs (first 20): {logit_equiv_indices[:20].tolist()}")
    max_dot = dot_products_bf16.max().item()
    max_count = (dot_products_bf16 == max_dot).sum().item()
    print(f"Maximum dot product: {max_dot:.8f} ({max_count:,} tokens)")

    cosine_cluster_mask = torch.zeros(N, dtype=torch.bool)
    cosine_cluster_mask[cosine_cluster_token_ids] = True
    n_overlap = (logit_equiv_mask & cosine_cluster_mask).sum().item()
    print(f"Overlap: {n_overlap:,} tokens")
    print(f"  Cosine-only: {(cosine_cluster_mask & ~logit_equiv_mask).sum().item():,} tokens")
    print(f"  Logit-only: {(logit_equiv_mask & ~cosine_cluster_mask).sum().item():,} tokens")
    print(f"  Of cosine cluster in logit class: {n_overlap / n_cosine_cluster * 100:.1f}%")
    print(f"  Of logit class in cosine cluster: {n_overlap / n_logit_equiv * 100:.1f}%")

    W_logit_equiv = W_bf16[logit_equiv_indices]
    n_unique_embeddings = len(torch.unique(W_logit_equiv, dim=0))
    print(f"Unique embeddings: {n_unique_embeddings:,}")
    print(f"  Average degeneracy: {n_logit_equiv / n_unique_embeddings:.1f}")

    unique_dots, counts = torch.unique(dot_products_bf16, return_counts=True)
    n_unique = unique_dots.numel()
    print(f"Total unique dot product values: {n_unique:,} ({n_unique / N * 100:.2f}%)")
    sorted_indices = torch.argsort(counts, descending=True)
    for i in range(min(10, n_unique)):
        dot_val = unique_dots[sorted_indices[i]].item()
        print(f"  {i + 1}. dot={dot_val:.8f}: {counts[sorted_indices[i]].item():,} tokens")

    output_path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            "logit_equiv_mask": logit_equiv_mask.to(torch.uint8),
            "logit_equiv_token_ids": logit_equiv_indices.to(torch.int32),
            "logit_equiv_dot_product": torch.tensor([mode_dot], dtype=torch.float32),
            "n_logit_equiv_members": torch.tensor([n_logit_equiv], dtype=torch.int32),
            "cluster_centroid": centroid_bf16,
        },
        str(output_path),
    )


if __name__ == "__main__":
    main()

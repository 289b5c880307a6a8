"""The claims, measured: every figure beside its peer in the same run."""

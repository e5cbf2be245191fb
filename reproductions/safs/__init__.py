"""SAFS, activations and hyper-parameters searched for sparse networks, measured: docs/reproduction/safs.md."""

"""What AP is said to do, measured: docs/reproduction/ap.md."""

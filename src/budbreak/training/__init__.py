"""The engine behind the command: data sets, the networks of the papers, and a fast training loop."""

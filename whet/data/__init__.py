"""Batches of any loader as a net takes them, what its outputs mean, and how far two outputs are apart."""

"""What the nouns stand on: files that are written whole, and nests of tensors."""

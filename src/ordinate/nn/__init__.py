"""Parts: tensor in, tensor out. No data, no loops."""

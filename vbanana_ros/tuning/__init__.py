"""Instruction tuning: records become (image, prompt, painted answer), and a generator learns to paint them."""

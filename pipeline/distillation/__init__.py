"""A mask decoder learns to paint what a VAE paints from latents of masks; no photographs and no labels."""

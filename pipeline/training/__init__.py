"""Fine-tune SOD-diffusion by the reference's protocol: data, steps, checkpoints, validation, workers."""

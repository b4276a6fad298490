"""Networks of others that find objects, in ONNX: what they expect, and how they are asked."""

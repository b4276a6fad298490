"""The Python API: from a photo to its mask in two lines; `model.load` is its door."""

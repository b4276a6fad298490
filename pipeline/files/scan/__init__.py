"""What an image file is made of, seen without decoding it: what a decoder need not see, and what it may not be asked.

One module per format. Each has `prepared`, which returns the bytes for the decoder: those that decide pixels.
"""

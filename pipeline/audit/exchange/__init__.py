"""The sample of an audit on its way to labelling tools, and their answers on the way back.

What the tools' files look like was read from the tools' own converters: `coco`, `cvat` and `label_studio` name them.
Masks stay run lengths all the way, so that none loses a pixel.
"""

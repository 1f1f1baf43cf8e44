"""Image decoding, embeddings, classifiers and review of training data. No Qt, no network, no storage.

These modules import Pillow and NumPy at the top: code that runs before the first paint imports them inside its
functions. SciPy, onnxruntime, OpenCV and rapidocr are imported when first needed.
"""

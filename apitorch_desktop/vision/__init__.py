"""From pixels to answers. No Qt, no network, no storage.

These modules import Pillow and numpy at the top: a module that is imported before the first paint imports them inside
its functions. scikit-learn, onnxruntime, OpenCV and rapidocr are imported when first needed.
"""

"""Lists of images with labels, in the formats that programs and people write.

reader       bytes of a list → `ListContent`; chooses the format
table        text → rows and columns: delimiter, quotes, header, comments
columns      columns → their roles (path, label, split), and rows → entries
records      JSON → rows, where it is a list of objects in any form
annotations  formats with annotations of objects: COCO, VIA, LabelMe, Pascal VOC, CVAT, YOLO
index        path in a list → an existing image
"""

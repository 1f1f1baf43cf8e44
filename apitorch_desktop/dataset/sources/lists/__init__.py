"""Lists of images with labels, in the formats that programs and people write.

reader       bytes of a list → `ListContent`; chooses the format
table        text → rows and columns: delimiter, quotes, header, comments
columns      columns → their roles (path, label, split), and rows → entries
annotations  formats of annotation tools: COCO, VIA, LabelMe, Pascal VOC, CVAT, YOLO, Datumaro, Darwin, Supervisely, Prodigy
names        words for columns, parts of a split and folders without a label
index        path in a list → an existing image
"""

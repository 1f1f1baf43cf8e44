"""Lists of images with labels, in the formats that programs and people write.

reader       bytes of a list → `ListContent`; chooses the format
table        text → rows and columns: delimiter, quotes, header, comments
text_forms   tables in Markdown, ARFF and YAML → text of rows
records      JSON of any form → tables, and what the keys above them mean
columns      columns → their roles (path, label, split), and rows → entries
annotations  formats of annotation tools: COCO, VIA, LabelMe, SageMaker, Encord, Pascal VOC, CVAT, YOLO, Datumaro, …
names        words for columns, parts of a split and folders without a label
index        path in a list → an existing image
"""

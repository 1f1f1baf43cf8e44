# ruff: noqa: E501
"""Layouts of data sets that are published: files by name, with the labels and parts that come of them."""

import json
from collections import Counter

import pytest

from apitorch_desktop.dataset.importer.plan import scan
from tests.dataset.importer.test_plan import picture, put


def coco(classes):
    """JSON of COCO with the classes of the objects in each image."""
    known = sorted({label for labels in classes.values() for label in labels})
    return json.dumps({
        "images": [{"id": path, "file_name": path} for path in classes],
        "annotations": [{"image_id": path, "category_id": known.index(label)} for path, labels in classes.items() for label in labels],
        "categories": [{"id": number, "name": label} for number, label in enumerate(known)],
    })  # fmt: skip


LAYOUTS = {
    "labels in a column called Id": (
        {"train/a1.jpg": None, "train/b2.jpg": None, "train.csv": "Image,Id\na1.jpg,w_12\nb2.jpg,new_whale\n"},
        {"w_12": 1, "new_whale": 1}, {"train"},
    ),
    "a map of numbers": (
        {"train_images/1.jpg": None, "train_images/2.jpg": None, "train.csv": "image_id,label\n1.jpg,0\n2.jpg,3\n",
         "label_num_to_disease_map.json": '{"0":"blight","1":"x","2":"y","3":"mosaic"}'},
        {"blight": 1, "mosaic": 1}, {"train"},
    ),
    "one hot without suffixes": (
        {"images/T_0.jpg": None, "images/T_1.jpg": None, "train.csv": "image_id,healthy,rust\nT_0,0,1\nT_1,1,0\n"},
        {"rust": 1, "healthy": 1}, {""},
    ),
    "images in two folders": (
        {"images_part_1/I1.jpg": None, "images_part_2/I2.jpg": None, "meta.csv": "lesion_id,image_id,dx,dx_type,age,sex\nH1,I1,bkl,histo,80,male\nH2,I2,nv,histo,75,female\n"},
        {"bkl": 1, "nv": 1}, None,
    ),
    "attributes of -1 and 1": (
        {"img/01.jpg": None, "img/02.jpg": None, "list_attr.txt": "2\nBald Smiling\n01.jpg -1  1\n02.jpg  1 -1\n"},
        {"smiling": 1, "bald": 1}, {""},
    ),
    "images in folders of synsets": (
        {"train/n01440764/images/n0_0.JPEG": None, "train/n01440764/n0_boxes.txt": "n0_0.JPEG\t0\t10\t63\t58\n",
         "val/images/val_0.JPEG": None, "val/val_annotations.txt": "val_0.JPEG\tn01440764\t0\t32\t44\t62\n",
         "words.txt": "n01440764\ttench, Tinca\n", "wnids.txt": "n01440764\n", "test/images/test_0.JPEG": None},
        {"tench": 2, "": 1}, {"train", "validation", "test"},
    ),
    "solutions of boxes": (
        {"ILSVRC/Data/CLS-LOC/train/n01440764/a.JPEG": None, "ILSVRC/Data/CLS-LOC/val/v1.JPEG": None,
         "LOC_val_solution.csv": "ImageId,PredictionString\nv1,n01440764 240 170 260 240 \n", "LOC_synset_mapping.txt": "n01440764 tench, Tinca\n"},
        {"tench": 2}, {"train", "validation"},
    ),
    "annotations beside parts": (
        {"train2017/1.jpg": None, "val2017/2.jpg": None,
         **{f"annotations/instances_{part}2017.json": json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": [{"image_id": 1, "category_id": 3}], "categories": [{"id": 3, "name": "car"}]}) for part, name in (("train", "1.jpg"), ("val", "2.jpg"))},
         "annotations/captions_val2017.json": json.dumps({"images": [{"id": 1, "file_name": "2.jpg"}], "annotations": [{"image_id": 1, "caption": "a car"}]})},
        {"car": 2}, {"train", "validation"},
    ),
    "a kit of VOC": (
        {"VOCdevkit/VOC2012/JPEGImages/a.jpg": None, "VOCdevkit/VOC2012/ImageSets/Main/train.txt": "a\n",
         "VOCdevkit/VOC2012/Annotations/a.xml": "<annotation><filename>a.jpg</filename><object><name>cat</name></object></annotation>"},
        {"cat": 1}, {"train"},
    ),
    "a number beside each image": (
        {f"shard-{number // 3}/{number}.{suffix}": text for number in range(6) for suffix, text in (("jpg", None), ("cls", f"{number % 2}"))},
        {"0": 3, "1": 3}, {""},
    ),
    "a number beside each image, with names": (
        {**{f"shard-{number // 3}/{number}.{suffix}": text for number in range(6) for suffix, text in (("jpg", None), ("cls", f"{number % 2}\n"))}, "classes.txt": "cat\ndog\n"},
        {"cat": 3, "dog": 3}, {""},
    ),
    "a label beside each image": (
        {"shard/a.jpg": None, "shard/a.cls": "hat", "shard/b.jpg": None, "shard/b.cls": "coat", "shard/c.cls": "no photo"},
        {"hat": 1, "coat": 1}, {""},
    ),
    "several words of one line": (
        {"images/banded/1.jpg": None, "images/lined/1.jpg": None, "images/lined/2.jpg": None,
         "labels/joint.txt": "banded/1.jpg banded lined \nlined/1.jpg lined \nlined/2.jpg banded lined \n"},
        {"banded": 2, "lined": 3}, {""},
    ),
    "masks of runs": (
        {"train_v2/0.jpg": None, "train_v2/1.jpg": None, "runs.csv": "ImageId,EncodedPixels\n0.jpg,\n1.jpg,264661 17 265429 33\n"},
        {"": 2}, {"train"},
    ),
    "labels that images have not": (
        {"train/0b6.jpg": None, "train/0b7.jpg": None, "class-descriptions.csv": "/m/014j1m,Apple\n/m/01g317,Person\n",
         "a.csv": "ImageID,Source,LabelName,Confidence\n0b6,verification,/m/014j1m,0\n0b6,verification,/m/01g317,1\n0b7,verification,/m/014j1m,1\n"},
        {"apple": 1, "person": 1}, {"train"},
    ),
    "numbers of kinds and of kinds of kinds": (
        {**{f"images/{name}_1.jpg": None for name in ("Abyssinian", "Bengal", "beagle", "boxer")},
         "annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\nBengal_1 6 1 2\nbeagle_1 5 2 2\nboxer_1 9 2 4\n"},
        {"1": 1, "6": 1, "5": 1, "9": 1}, {""},
    ),
    "parts in lists of images alone": (
        {"images/0.png": None, "images/1.png": None, "train_val_list.txt": "0.png\n", "test_list.txt": "1.png\n",
         "entry.csv": "Image Index,Finding Labels\n0.png,Mass\n1.png,No Finding\n"},
        {"mass": 1, "no_finding": 1}, {"train", "test"},
    ),
    "parts in lists of one other name": (
        {"bicycle_final/1.JPG": None, "chair_final/2.JPG": None,
         **{f"Ebay_{part}.txt": f"image_id class_id super_class_id path\n{row}\n" for part, row in (("train", "1 1 1 bicycle_final/1.JPG"), ("test", "2 2 2 chair_final/2.JPG"))}},
        {"bicycle_final": 1, "chair_final": 1}, {"train", "test"},
    ),
    "lists of validation by number": (
        {"data_large/a/airfield/1.jpg": None, "data_large/b/bar/1.jpg": None, "val_large/val_1.jpg": None, "test_large/test_1.jpg": None,
         "filelist/categories_places.txt": "/a/airfield 0\n/b/bar 1\n", "filelist/places_val.txt": "val_1.jpg 1\n",
         "filelist/places_train.txt": "/a/airfield/1.jpg 0\n/b/bar/1.jpg 1\n", "filelist/places_test.txt": "test_1.jpg\n"},
        {"a_airfield": 1, "b_bar": 2, "": 1}, {"train", "validation", "test"},
    ),
    "a list of numbers before one of names": (
        {"train/0.jpg": None, "train/1.jpg": None, "found.csv": "file,category\n0.jpg,1\n1.jpg,1\n", "labels.csv": "file,category\n0.jpg,tapir\n1.jpg,empty\n"},
        {"tapir": 1, "empty": 1}, {"train"},
    ),
    "words about the photos": (
        {**{f"imgs/{n}.jpg": None for n in range(4)},
         "meta.csv": "image,age_approx,site,sex\n" + "".join(f"{n},55,{('torso', 'leg')[n % 2]},female\n" for n in range(4))},
        {"set": 4}, {""},
    ),
    "several labels with underscores": (
        {"0.jpg": None, "1.jpg": None, "l.csv": "image,labels\n0.jpg,scab frog_eye\n1.jpg,scab\n"},
        {"scab": 2, "frog_eye": 1}, {""},
    ),
    "numbers of synsets in folders of synsets": (
        {"train/n01440764/a.jpg": None, "train/n01443537/b.jpg": None, "val/c.jpg": None, "words.txt": "n01440764\ttench, Tinca\nn01443537\tgoldfish\n",
         "all.csv": "path,label\ntrain/n01440764/a.jpg,7\ntrain/n01443537/b.jpg,9\nval/c.jpg,9\n"},
        {"tench": 1, "goldfish": 2}, {"train", "validation"},
    ),
    "a header in Dutch": (
        {**{f"{n}.jpg": None for n in range(4)}, "l.csv": "bestand;soort;bron\n" + "".join(f"{n}.jpg;{('kat', 'hond')[n % 2]};thuis\n" for n in range(4))},
        {"kat": 2, "hond": 2}, {""},
    ),
    "parts in Italian": (
        {f"{part}/{name}/1.jpg": None for part in ("addestramento", "convalida", "prova") for name in ("cane", "gatto")},
        {"cane": 3, "gatto": 3}, {"train", "validation", "test"},
    ),
    "parts in Russian": (
        {f"{part}/{name}/1.jpg": None for part in ("Обучающая выборка", "тестовый набор") for name in ("кошка", "собака")},
        {"кошка": 2, "собака": 2}, {"train", "test"},
    ),
    "boxes of YOLO by parts": (
        {"train/images/a.jpg": None, "train/labels/a.txt": "0 .5 .5 .1 .1\n", "valid/images/b.jpg": None, "valid/labels/b.txt": "1 .5 .5 .1 .1",
         "data.yaml": "train: ../train/images\nnc: 2\nnames:\n- cat\n- dog\n", "README.dataset.txt": "# pets\nhttps://example.org/x/y\n"},
        {"cat": 1, "dog": 1}, {"train", "validation"},
    ),
    "one hot by parts": (
        {"train/_classes.csv": "filename, cat, dog\na.jpg, 1, 0\n", "train/a.jpg": None, "valid/_classes.csv": "filename, cat, dog\na.jpg, 0, 1\n", "valid/a.jpg": None},
        {"cat": 1, "dog": 1}, {"train", "validation"},
    ),
    "boxes behind the path": (
        {"train/_annotations.txt": "a.jpg 10,20,30,40,0 1,2,3,4,0\nb.jpg 1,2,3,4,1\n", "train/_classes.txt": "cat\ndog\n", "train/a.jpg": None, "train/b.jpg": None},
        {"cat": 1, "dog": 1}, {"train"},
    ),
    "metadata in each part": (
        {"train/metadata.csv": "file_name,label\n1.png,cat\n", "train/1.png": None, "test/1.png": None, "test/metadata.csv": "file_name,label\n1.png,dog\n"},
        {"cat": 1, "dog": 1}, {"train", "test"},
    ),
    "numbers for the images": (
        {"images/001.Albatross/A_1.jpg": None, "images/002.Bunting/B_1.jpg": None, "images.txt": "1 001.Albatross/A_1.jpg\n2 002.Bunting/B_1.jpg\n",
         "classes.txt": "1 001.Albatross\n2 002.Bunting\n", "image_class_labels.txt": "1 1\n2 2\n", "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n"},
        {"001_albatross": 1, "002_bunting": 1}, {""},
    ),
    "several labels in a row": (
        {"a.jpg": None, "b.jpg": None, "x.csv": "gs://b/a.jpg,cat\ngs://b/b.jpg,dog,cat\n"},
        {"cat": 2, "dog": 1}, {""},
    ),
    "samples with tags": (
        {"data/a.jpg": None, "samples.json": json.dumps({"samples": [{"filepath": "data/a.jpg", "tags": ["good"], "ground_truth": {"_cls": "Classification", "label": "cat", "tags": []}}]})},
        {"cat": 1}, {""},
    ),
    "a list for each part": (
        {"images/1.jpg": None, "images/2.jpg": None, "train.csv": "file,label\n1.jpg,cat\n", "val.csv": "file,label\n2.jpg,dog\n"},
        {"cat": 1, "dog": 1}, {"train", "validation"},
    ),
    "paths for each part and numbers with names": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "train.txt": "cat/1.jpg 0\n", "test.txt": "dog/2.jpg 1\n", "label_list.txt": "0 cat\n1 dog\n"},
        {"cat": 1, "dog": 1}, {"train", "test"},
    ),
    "a form to hand in": (
        {"train/1.jpg": None, "test/2.jpg": None, "train.csv": "image,label\n1.jpg,dog\n", "sample_submission.csv": "image,label\n2.jpg,cat\n"},
        {"dog": 1, "": 1}, {"train", "test"},
    ),
    "a classifier's answers": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "predictions.csv": "file,prediction,confidence\n1.jpg,dog,0.4\n2.jpg,dog,0.6\n"},
        {"cat": 1, "dog": 1}, {""},
    ),
    "parts of a JSON": (
        {"1.jpg": None, "2.jpg": None, "l.json": json.dumps({"train": {"cat": ["1.jpg"]}, "test": [{"image": "2.jpg", "label": "dog"}]})},
        {"cat": 1, "dog": 1}, {"train", "test"},
    ),
    "numbers that lost their zeros": (
        {"0001.jpg": None, "0012.jpg": None, "train.csv": "id,label\n1,cat\n12,dog\n"}, {"cat": 1, "dog": 1}, {""},
    ),
    "captions": (
        {"cat/1.jpg": None, "cat/2.jpg": None, "metadata.jsonl": '{"file_name": "cat/1.jpg", "text": "a cat"}\n{"file_name": "cat/2.jpg", "text": "two cats"}\n'},
        {"cat": 2}, {""},
    ),
    "labels of folders": (
        {"a/1.jpg": None, "b/2.jpg": None, "labels.csv": "folder,label\na,cat\nb,dog\n"}, {"cat": 1, "dog": 1}, {""},
    ),
    "names of folders in JSON": (
        {"train/n02085620/1.jpg": None, "Labels.json": '{"n02085620": "Chihuahua, dog"}'}, {"chihuahua": 1}, {"train"},
    ),
    "numbers to names": ({"0/1.jpg": None, "1/2.jpg": None, "cat_to_name.json": '{"0": "rose", "1": "tulip", "2": "oak"}'}, {"rose": 1, "tulip": 1}, {""}),
    "classes in a table": (
        {"1.jpg": None, "2.jpg": None, "l.csv": "file,label\n1.jpg,0\n2.jpg,1\n", "class_dict.csv": "class_index,class\n0,cat\n1,dog\n"},
        {"cat": 1, "dog": 1}, {""},
    ),
    "places of synsets": (
        {"1.jpg": None, "2.jpg": None, "val.txt": "1.jpg 0\n2.jpg 1\n", "synset_words.txt": "n01440764 tench, Tinca\nn01443537 goldfish\n"},
        {"tench": 1, "goldfish": 1}, {""},
    ),
    "a mapping in YAML": (
        {"images/1.jpg": None, "labels/1.txt": "1 .5 .5 .1 .1\n", "data.yaml": "names: {0: cat, 1: dog}  # two\n"}, {"dog": 1}, {""},
    ),
    "names with comments in YAML": (
        {"images/1.jpg": None, "labels/1.txt": "1 .5 .5 .1 .1\n", "data.yaml": "names:\n  0: cat # a\n  1: dog # b\n"}, {"dog": 1}, {""},
    ),
    "a list for each class": (
        {"JPEGImages/a.jpg": None, "JPEGImages/b.jpg": None, "ImageSets/Main/cat_train.txt": "a  1\nb -1\n", "ImageSets/Main/dog_train.txt": "a -1\nb  1\n"},
        {"cat": 1, "dog": 1}, {"train"},
    ),
    "a file of tags for each image": (
        {"ds/img/a.jpg": None, "ds/ann/a.jpg.json": '{"tags": [{"name": "cat"}], "objects": []}', "meta.json": "{}"}, {"cat": 1}, {""},
    ),
    "a file of annotations for each image": (
        {"a.jpg": None, "annotations/a.json": '{"item": {"name": "a.jpg"}, "annotations": [{"name": "cat", "tag": {}}]}'}, {"cat": 1}, {""},
    ),
    "numbers with zeros in folders, without in a list": (
        {"train/00000/1.png": None, "train/00014/1.png": None, "test/1.png": None, "test/2.png": None,
         "train/00014/GT-00014.csv": "Filename;Width;ClassId\n1.png;29;14\n", "GT-test.csv": "Filename;Width;ClassId\ntest/1.png;53;14\ntest/2.png;54;0\n"},
        {"14": 2, "0": 2}, {"train", "test"},
    ),
    "a table of photos and one of labels": (
        {"img/p0.jpg": None, "img/p1.jpg": None, "images.csv": "image_id,file_name\n100,img/p0.jpg\n101,img/p1.jpg\n", "labels.csv": "image_id,label\n100,cat\n101,dog\n"},
        {"cat": 1, "dog": 1}, {""},
    ),
    "observations of photos, with ids of their own": (
        {"p0.jpg": None, "p1.jpg": None, "photos.csv": "photo_id,file_name\na1,p0.jpg\na2,p1.jpg\n", "obs.csv": "obs_id,photo_id,comment,label\n1,a1,x,cat\n2,a2,y,owl\n"},
        {"cat": 1, "owl": 1}, {""},
    ),
    "ids of photos, their classes and parts": (
        {"images/001.Ani/a.jpg": None, "images/002.Owl/b.jpg": None, "images/002.Owl/c.jpg": None,
         "images.txt": "1 001.Ani/a.jpg\n2 002.Owl/b.jpg\n3 002.Owl/c.jpg\n", "image_class_labels.txt": "1 1\n2 2\n3 2\n", "classes.txt": "1 001.Ani\n2 002.Owl\n",
         "train_test_split.txt": "1 0\n2 1\n3 1\n", "attributes/certainties.txt": "1 not visible\n2 guessing\n", "bounding_boxes.txt": "1 6.0 2.0 3.0 3.0\n"},
        {"001_ani": 1, "002_owl": 2}, {"train", "test"},
    ),
    "ids of photos beside their addresses": (
        {"train/6/p0.jpg": None, "train/2/p1.jpg": None, "train.csv": "id,url,landmark_id\np0,https://e.org/X.jpg,14\np1,https://e.org/Y.jpg,15\n"},
        {"14": 1, "15": 1}, {"train"},
    ),
    "a list of parts by number": (
        {"1.jpg": None, "2.jpg": None, "identity.txt": "1.jpg 2880\n2.jpg 2937\n", "list_eval_partition.txt": "1.jpg 0\n2.jpg 2\n"},
        {"2880": 1, "2937": 1}, {"train", "test"},
    ),
    "numbers of lines": (
        {"Data/train/n01440764/a.JPEG": None, "Data/train/n01440764/b.JPEG": None, "Data/train/n01443537/c.JPEG": None, "Data/val/v.JPEG": None,
         "ImageSets/train_cls.txt": "n01440764/a 1\nn01440764/b 2\nn01443537/c 3\n", "ImageSets/val.txt": "v 1\n"},
        {"n01440764": 2, "n01443537": 1, "": 1}, {"train", "validation"},
    ),
    "numbers of classes with one photo each": (
        {"real/bird/1.jpg": None, "real/cat/1.jpg": None, "real/owl/1.jpg": None, "art/bird/1.jpg": None, "art/cat/1.jpg": None, "art/owl/1.jpg": None,
         **{f"{part}.txt": f"{part}/bird/1.jpg 0\n{part}/cat/1.jpg 1\n{part}/owl/1.jpg 2\n" for part in ("real", "art")}},
        {"bird": 2, "cat": 2, "owl": 2}, {""},
    ),
    "bare numbers beside folders and lists of names": (
        {"train/n01440764/a.JPEG": None, "train/n01443537/b.JPEG": None, "val/v.JPEG": None, "sets/list.txt": "n01440764/a 1\nv 1\nn01443537/b 0\n",
         "val_solution.csv": "ImageId,label\nv,n01440764\n", "LOC_synset_mapping.txt": "n01440764 tench, Tinca\nn01443537 goldfish\n"},
        {"tench": 2, "goldfish": 1}, {"train", "validation"},
    ),
    "words of two lists of one form": (
        {"images/1.jpg": None, "images/2.jpg": None, "family_train.txt": "1 Boeing 707\n", "family_test.txt": "2 Boeing 737\n"},
        {"boeing_707": 1, "boeing_737": 1}, {"train", "test"},
    ),
    "a part beside another folder": (
        {"train/1.jpg": None, "train/2.jpg": None, "sample/9.jpg": None, "trainLabels.csv": "image,level\n1,No DR\n2,Mild\n"},
        {"no_dr": 1, "mild": 1, "sample": 1}, None,
    ),
    "a list without a suffix": ({"1.jpg": None, "2.jpg": None, "labels": "1.jpg\tcat\n2.jpg\tdog\n", "LICENSE": "Free\nfor all\n"}, {"cat": 1, "dog": 1}, {""}),
    "an empty column of labels": ({"1.jpg": None, "metadata.csv": "file_name,label\n1.jpg,\n"}, {"": 1}, {""}),
    "an empty column of labels among folders": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "metadata.csv": "file_name,label\ncat/1.jpg,\ndog/2.jpg,\n"},
        {"cat": 1, "dog": 1}, {""},
    ),
    "a column of labels that are called as parts": (
        {"1.jpg": None, "2.jpg": None, "list.csv": "file_name,label\n1.jpg,train\n2.jpg,test\n"}, {"train": 1, "test": 1}, {""},
    ),
    "folders of places, and photos without a class or with several": (
        {**{f"{place}/{n}.jpg": None for place, n in enumerate("abcd")}, "boxes.json": coco({"0/a.jpg": ["fox"], "1/b.jpg": [], "2/c.jpg": ["fox", "deer"], "3/d.jpg": ["deer"]})},
        {"fox": 1, "deer": 1, "": 2}, {""},
    ),
    "two annotations of one set": (
        {"img/1.jpg": None, "img/2.jpg": None, "annotations/instances.json": coco({"1.jpg": ["person", "dog"], "2.jpg": ["dog"]}),
         "annotations/keypoints.json": coco({"1.jpg": ["person"]})},
        {"dog": 1, "": 1}, {""},
    ),
    "two annotations of one set, of numbers": (
        {"img/1.jpg": None, "img/2.jpg": None, "annotations/a.json": coco({"1.jpg": ["7"]}), "annotations/b.json": coco({"1.jpg": ["7", "8"], "2.jpg": ["8"]})},
        {"8": 1, "": 1}, {""},
    ),
    "two annotations of one set, the other first": (
        {"img/1.jpg": None, "img/2.jpg": None, "annotations/a.json": coco({"1.jpg": ["person"]}),
         "annotations/b.json": coco({"1.jpg": ["person", "dog"], "2.jpg": ["dog"]})},
        {"dog": 1, "": 1}, {""},
    ),
    "JSON objects about an annotation": (
        {"a.jpg": None, "b.jpg": None, "data.json": json.dumps([
            {"id": f"k{name}", "externalId": name, "labels": [{"author": {"email": "a@b"}, "jsonResponse": {"JOB": {"categories": [{"name": label}]}}, "isLatest": True}]}
            for name, label in (("a.jpg", "cat"), ("b.jpg", "dog"))])},
        {"cat": 1, "dog": 1}, {""},
    ),
    "lines of JSON of types, with the names of classes in the first": (
        {"a.jpg": None, "b.jpg": None, "set.ndjson": '{"type": "dataset", "name": "pets", "class_names": {"0": "dog", "1": "cat"}}\n'
         '{"type": "image", "file": "a.jpg", "split": "train", "annotations": {"classification": [1]}}\n{"type": "image", "file": "b.jpg", "split": "val", "annotations": {"classification": [0]}}\n'},
        {"cat": 1, "dog": 1}, {"train", "validation"},
    ),
    "a text of named boxes for each photo": (
        {**{f"image_2/{n:06}.png": None for n in range(5)}, "label_2/000004.txt": "DontCare -1 -1 -10 599.41 156.40\n", "label_2/000000.txt": "Car 0.00 3 -1.57 599.41 156.40\nDontCare -1 -1 -10 599.41 156.40\n",
         "label_2/000001.txt": "Car 0.00 0 -1.57 599.41 156.40\nVan 0.00 2 -1.57 599.41 156.40\n", "label_2/000002.txt": "Cyclist 0.00 1 -1.57 599.41 156.40\n", "label_2/000003.txt": "Car 1 2 3 4\n" * 2},
        {"car": 2, "cyclist": 1, "": 2}, {""},
    ),
    "a text of numbers for each photo": (
        {"img/1.jpg": None, "img/2.jpg": None, "txt/1.txt": "2 cat 0.5\n", "txt/2.txt": "1 dog 0.5\n"}, {"set": 2}, {""},
    ),
    "annotators that disagree": (
        {"a.jpg": None, "b.jpg": None, "project.json": json.dumps([
            {"data": {"image": name}, "annotations": [{"result": [{"value": {"choices": [label]}}]} for label in labels]}
            for name, labels in (("a.jpg", ["cat", "dog"]), ("b.jpg", ["cat", "cat"]))])},
        {"cat": 1, "": 1}, {""},
    ),
    "one choice, or several in an object": (
        {"a.jpg": None, "b.jpg": None, "c.jpg": None, "min.json": '[{"image": "a.jpg", "animal": "cat"}, {"image": "b.jpg", "animal": "dog"}, {"image": "c.jpg", "animal": {"choices": ["cat", "dog"]}}]'},
        {"cat": 2, "dog": 2}, {""},
    ),
    "names of ids after a header": (
        {"train/1a.jpg": None, "train/2b.jpg": None, "train-labels.csv": "ImageID,LabelName\n1a,/m/01yrx\n2b,/m/0bt9lr\n", "oidv6-class-descriptions.csv": "LabelName,DisplayName\n/m/01yrx,Cat\n/m/0bt9lr,Dog\n"},
        {"cat": 1, "dog": 1}, {"train"},
    ),
    "a JSON for each photo, called as it": (
        {f"{name}.jpg{end}": text and text % name for name in "ab" for end, text in (("", None), (".json", '{"metadata": {"name": "%s.jpg", "projectId": 1, "pinned": false}, "instances": [{"type": "tag", "classId": 1, "className": "cat"}], "tags": []}'))},
        {"cat": 2}, {""},
    ),
    "a JSON for each photo, in a folder beside": (
        {f"{place}/{name}.{end}": text and text % name for name in "ab" for place, end, text in (("items", "jpg", None), ("json", "json", '{"id": "6", "filename": "/%s.jpg", "type": "file", "annotations": [{"id": "1", "label": "cat", "type": "class"}]}'))},
        {"cat": 2}, {""},
    ),
    "a JSON without its suffix": (
        {"training/a.jpg": None, "testing/b.jpg": None, "info.labels": '{"files": [{"path": "training/a.jpg", "category": "training", "label": {"type": "label", "label": "cat"}}, {"path": "testing/b.jpg", "category": "testing", "label": {"type": "label", "label": "dog"}}]}'},
        {"cat": 1, "dog": 1}, {"train", "test"},
    ),
    "numbers with decimals, and a key of their names": (
        {"images/a.png": None, "images/b.png": None, "train.csv": "id,categories\na,[1.0]\nb,[2.0]\n", "category_key.csv": "id,name,supercat\n1,Actiniaria,Anemone\n2,Actinernus,Anemone\n"},
        {"actiniaria": 1, "actinernus": 1}, {""},
    ),
    "a folder of photos without a label": (
        {"cat/a.jpg": None, "dog/b.jpg": None, "no_label/c.jpg": None}, {"cat": 1, "dog": 1, "": 1}, {"", "unlabeled"},
    ),
    "names of folders after a header": (
        {"set/1/1.jpg": None, "set/1/2.jpg": None, "set/2/9.jpg": None, "set/category.txt": "id\tname\n1\trice\n2\teels on rice\n"}, {"rice": 2, "eels_on_rice": 1}, {""},
    ),
    "a type that says no more than that they are images": (
        {"assets/5d4b/a.jpg": None, "assets/5d4c/b.jpg": None, "all.csv": "id,country,type,path\n5d4b,Burundi,image,assets/5d4b/a.jpg\n5d4c,France,image,assets/5d4c/b.jpg\n"},
        {"5d4b": 1, "5d4c": 1}, {""},
    ),
    "parts in a list, labels in folders": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "parts.csv": "file,split\n1.jpg,train\n2.jpg,test\n"}, {"cat": 1, "dog": 1}, {"train", "test"},
    ),
    "parts of a JSON of several objects": (
        {"a/1.jpg": None, "b/2.jpg": None, "all.json": json.dumps([
            {"file": name, "split": "test", "annotations": [{"label": label} for label in labels]} for name, labels in (("1.jpg", ["cat", "dog"]), ("2.jpg", ["dog"]))])},
        {"dog": 1, "": 1}, {"test"},
    ),
    "labels of some photos, folders of all": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "list.csv": "file,label\n1.jpg,blurry\n2.jpg,\n"}, {"blurry": 1, "dog": 1}, {""},
    ),
    "only a header": ({"cat/1.jpg": None, "labels.csv": "file_name,label\n"}, {"cat": 1}, None),
    "tables that are about something else": (
        {"cat/1.jpg": None, "dog/2.jpg": None, "stats.csv": "epoch,loss\n1,0.5\n2,0.4\n", "log.json": '{"1": 3}', "labels.txt": "cat\ndog\n", "requirements.txt": "numpy\n"},
        {"cat": 1, "dog": 1}, {""},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout(tmp_path, name):
    files, labels, splits = LAYOUTS[name]
    for number, (path, text) in enumerate(files.items()):
        put(tmp_path / "set" / path, picture(number) if text is None else text.encode())
    plan = scan([tmp_path / "set"])
    assert Counter(item.label for item in plan.items) == labels, plan.notes
    assert splits is None or {item.split for item in plan.items} == splits
    assert plan.complete == (name != "only a header"), plan.notes

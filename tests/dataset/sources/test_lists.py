# ruff: noqa: E501
"""Lists of images in the forms that programs and people write them: alone, in a folder, and in an archive."""

import bz2
import gzip
import io
import json
import lzma
import re
import time
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from apitorch_desktop.dataset.importer.plan import ItemStatus, Plan, scan
from apitorch_desktop.dataset.sources.image_source import ImageFile, ImageUrl
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.columns import ListEntry
from apitorch_desktop.dataset.sources.lists.table import decode
from apitorch_desktop.dataset.sources.name_encoding import decode_text


def photo(seed):
    stream = io.BytesIO()
    Image.new("RGB", (24, 16), (seed * 16 % 256, seed * 7 % 256, 99)).save(stream, "JPEG")
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def labels(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in plan.items:
        assert not item.problem, item
        found.setdefault(item.label, []).append(item.name)
    return found


PETS = {"cat": ["p0.jpg", "p2.jpg"], "dog": ["p1.jpg", "p3.jpg"]}
ROWS = [("p0.jpg", "cat"), ("p1.jpg", "dog"), ("p2.jpg", "cat"), ("p3.jpg", "dog")]
NUMBERS = {"cat": "0", "dog": "1"}


def table(header, form, rows=ROWS, end="\n"):
    return end.join(
        [
            *([header] if header else []),
            *(form.format(path=path, label=label, n=NUMBERS[label]) for path, label in rows),
            "",
        ]
    )


BOX = {"x": 3, "y": 3, "width": 5, "height": 5}
COCO = {
    "info": {"year": 2024},
    "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 1, "name": "Attribution"}],
    "images": [{"id": n, "file_name": path} for n, (path, _) in enumerate(ROWS)],
    "annotations": [
        {"image_id": n, "category_id": int(NUMBERS[label]) + 1, "bbox": [1, 2, 3, 4]}
        for n, (_, label) in enumerate(ROWS)
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "pet"}, {"id": 2, "name": "dog"}],
}
VIA = {
    f"{path}123": {
        "filename": path, "size": 123, "file_attributes": {},
        "regions": [{"shape_attributes": {"name": "rect", **BOX}, "region_attributes": {"kind": label}}],
    }
    for path, label in ROWS
}  # fmt: skip
LISTS: dict[str, str] = {
    # tables
    "spaced.csv": table("Image Path,Class Name", "{path},{label}"),
    "camel.csv": table("imagePath;className", "{path};{label}"),
    "unknown header.csv": table("snapshot,what is on it", "{path},{label}"),
    "german.csv": table("Dateiname;Kategorie", "{path};{label}"),
    "reversed.csv": table("label,filename", "{label},{path}"),
    "mac.csv": table("file_name,label", "{path},{label}", end="\r"),
    "dos.csv": table("file_name,label", "{path},{label}", end="\r\n"),
    "sep.csv": "sep=|\r\n" + table("file_name|label", "{path}|{label}"),
    "comment.csv": "# made by a tool\n#\n" + table("filename,label", "{path},{label}"),
    "commented header.csv": table("#filename,label", "{path},{label}"),
    "title.csv": "Photos of our pets\n\n" + table("filename,label", "{path},{label}"),
    "quoted.csv": table('"file";"label"', '"{path}";"{label}"'),
    "commas in header.csv": table("filename;label;notes, free text, in words, many", "{path};{label};a, b"),
    "tabs.tsv": table("img\tspecies", "{path}\t{label}"),
    "tabs in csv.csv": table("img\tspecies", "{path}\t{label}"),
    "extra columns.csv": table("id,width,image,height,breed,area", "7,30,{path},40,{label},1.5"),
    "id and name.csv": table("filename,label,label_name", "{path},{n},{label}"),
    "name first.csv": table("filename,class_name,class_id", "{path},{label},{n}"),
    "boxes.csv": table("filename,width,height,class,xmin,ymin,xmax,ymax", "{path},9,9,{label},1,2,3,4\n{path},9,9,{label},2,2,3,4"),
    "retina.csv": table("", "{path},1,2,3,4,{label}"),
    "put together.csv": table("file_name,label", "{path},{label}", ROWS[:2]) + table("file_name,label", "{path},{label}", ROWS[2:]),
    "R.txt": table('"file" "label"', '"{n}" "{path}" "{label}"'),
    "R without names of rows.txt": table('"file" "label"', '"{path}" "{label}"'),
    "lines in quotes.csv": table('"filename,label"', '"{path},{label}"'),
    "lines in quotes, with semicolons.csv": table('"filename;label;note"', '"{path};{label};""a, b"""'),
    "single quotes.csv": table("", "'{path}','{label}'"),
    "converted.csv": table("file_name,label", "{path},{label}").replace(".jpg", ".png"),
    "datastore.jsonl": "".join(json.dumps({"image_url": f"AmlDatastore://pets/{path}", "label": label}) + "\n" for path, label in ROWS),
    "no header.csv": table("", "{path},{label}"),
    "automl.csv": table("", "TRAIN,{path},{label}"),
    "vertex.csv": table("", "gs://bucket/photos/{path},{label}"),
    "one hot.csv": "filename, cat, dog\np0.jpg, 1, 0\np1.jpg, 0, 1\np2.jpg, 1, 0\np3.jpg, 0, 1\n",
    "one hot true.csv": "image;cat;dog\np0.jpg;True;False\np1.jpg;False;True\np2.jpg;True;False\np3.jpg;False;True\n",
    "labels.csv": "id,breed\np0,cat\np1,dog\np2,cat\np3,dog\n",
    "numbered labels.csv": ",file,label\n0,p0.jpg,cat\n1,p1.jpg,dog\n2,p2.jpg,cat\n3,p3.jpg,dog\n",
    "stem.csv": "id,breed\np0,cat\np1,dog\np2,cat\np3,dog\n",
    "windows.csv": table("filename,label", "C:\\Users\\Anna\\Pictures\\{path},{label}"),
    "server.csv": table("filename,label", "/mnt/data/2019/{path},{label}"),
    "folder away.csv": table("filename,label", "/kaggle/input/pets/train/{path},{label}"),
    "label studio.csv": table("image,id,choice,annotator", "/data/upload/3/1a2b3c4d-{path},4,{label},1"),
    "label studio boxes.csv": "image,label\n" + "".join(
        f'/data/local-files/?d=pets/{path},"[{{""x"": 1, ""rectanglelabels"": [""{label}""]}}]"\n' for path, label in ROWS
    ),
    "via.csv": "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n" + "".join(
        f'{path},123,"{{}}",1,0,"{{""name"":""rect"",""x"":1}}","{{""type"":""{label}""}}"\n' for path, label in ROWS
    ),
    "spaces.txt": table("", "{path} {label}"),
    "comma.txt": table("", "{path},{label}"),
    "tab.txt": table("", "{path}\t{label}"),
    "label first.txt": table("", "{label} {path}"),
    "manifest.manifest": "".join(
        json.dumps({"source-ref": f"s3://bucket/{path}", "pets": int(NUMBERS[label]), "pets-metadata": {"class-name": label}}) + "\n"
        for path, label in ROWS
    ),
    "caret.csv": table("file^label", "{path}^{label}"),
    "colon.txt": table("", "{path}: {label}"),
    "arrow.txt": table("", "{path} -> {label}"),
    "truth and answer.csv": table("path,true_label,pred_label,prob", "{path},{label},bird,0.4"),
    "pretty.jsonl": "".join(json.dumps({"image": path, "label": label}, indent=1) + "\n" for path, label in ROWS),
    "one line.json": "".join(json.dumps({"image": path, "label": label}) for path, label in ROWS),
    "own names.json": json.dumps({"metainfo": {"classes": ["cat", "dog"]}, "data_list": [{"img_path": path, "gt_label": int(NUMBERS[label])} for path, label in ROWS]}),
    "own categories.json": json.dumps({"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "images": [{"file_name": path, "category_id": int(NUMBERS[label]) + 1} for path, label in ROWS]}),
    "own labels.json": json.dumps({"labels": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}], "images": [{"file": path, "label_id": int(NUMBERS[label])} for path, label in ROWS]}),
    "attributes.xml": "<images>" + "".join(f'<image file="{path}" label="{label}"/>' for path, label in ROWS) + "</images>",
    "rows.json": json.dumps([["file", "label"], *ROWS]),
    "prodigy.jsonl": "".join(json.dumps({"image": path, "options": [{"id": "cat"}, {"id": "dog"}], "accept": [label], "answer": "accept"}) + "\n" for path, label in ROWS),
    "labelbox.ndjson": "".join(json.dumps({"data_row": {"external_id": path}, "projects": {"p": {"labels": [{"annotations": {"classifications": [{"name": "kind", "radio_answer": {"name": label}}]}}]}}}) + "\n" for path, label in ROWS),
    "labelbox.json": json.dumps([{"External ID": path, "Label": {"objects": [], "classifications": [{"title": "kind", "answer": {"title": label}}]}} for path, label in ROWS]),
    "datumaro.json": json.dumps({"categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}}, "items": [
        {"id": path[:-4], "annotations": [{"type": "label", "label_id": int(NUMBERS[label])}], "image": {"path": path}} for path, label in ROWS]}),
    # JSON
    "records.json": json.dumps([{"image": path, "label": label} for path, label in ROWS]),
    "nested.json": json.dumps({"version": 2, "data": {"items": [{"image": {"path": path}, "meta": {"class": label}} for path, label in ROWS]}}),
    "mapping.json": json.dumps(dict(ROWS)),
    "by label.json": json.dumps({"cat": PETS["cat"], "dog": PETS["dog"]}),
    "columns.json": json.dumps({"file_name": [path for path, _ in ROWS], "label": [label for _, label in ROWS]}),
    "pandas.json": json.dumps({"file_name": {str(n): path for n, (path, _) in enumerate(ROWS)}, "label": {str(n): label for n, (_, label) in enumerate(ROWS)}}),
    "pairs.json": json.dumps(ROWS),
    "coco.json": json.dumps(COCO),
    "fiftyone.json": json.dumps({"classes": ["cat", "dog"], "labels": {path[:2]: int(NUMBERS[label]) for path, label in ROWS}}),
    "samples.json": json.dumps({"samples": [{"filepath": f"data/{path}", "ground_truth": {"_cls": "Classification", "label": label}} for path, label in ROWS]}),
    "createml.json": json.dumps([{"image": path, "annotations": [{"label": label, "coordinates": BOX}]} for path, label in ROWS]),
    "via.json": json.dumps(VIA),
    "via project.json": json.dumps({"_via_settings": {}, "_via_img_metadata": VIA}),
    "tasks.json": json.dumps([
        {"id": n, "data": {"image": f"/data/upload/1/0a1b2c3d-{path}"}, "annotations": [
            {"id": n, "result": [{"type": "choices", "from_name": "choice", "value": {"choices": [label]}}]}
        ]}
        for n, (path, label) in enumerate(ROWS)
    ]),
    "min.json": json.dumps([{"image": path, "id": n, "choice": label, "annotator": 1} for n, (path, label) in enumerate(ROWS)]),
    "hugging face.jsonl": "".join(json.dumps({"file_name": path, "label": label, "text": "a\u2028b"}, ensure_ascii=False) + "\n" for path, label in ROWS),
    "objects.jsonl": "".join(json.dumps({"file_name": path, "objects": {"bbox": [[1, 2, 3, 4]], "categories": [label]}}) + "\n" for path, label in ROWS),
    "vertex.jsonl": "".join(json.dumps({
        "imageGcsUri": f"gs://bucket/{path}", "classificationAnnotation": {"displayName": label},
        "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "training"},
    }) + "\n" for path, label in ROWS),
    "vertex boxes.jsonl": "".join(json.dumps({
        "imageGcsUri": f"gs://bucket/{path}", "boundingBoxAnnotations": [{"displayName": label, "xMin": 0.1, "yMin": 0.1}],
        "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "training"},
    }) + "\n" for path, label in ROWS),
    "several labels.manifest": "".join(json.dumps({
        "source-ref": f"s3://bucket/{path}", "pets": [int(NUMBERS[label])], "pets-metadata": {
            "class-map": {NUMBERS[label]: label}, "confidence-map": {NUMBERS[label]: 0.5}, "type": "groundtruth/image-classification-multilabel"},
    }) + "\n" for path, label in ROWS),
    "boxes.manifest": "".join(json.dumps({
        "source-ref": f"s3://bucket/{path}", "box": {"image_size": [{"width": 5}], "annotations": [{"class_id": int(NUMBERS[label]), "left": 1}]},
        "box-metadata": {"objects": [{"confidence": 0.8}], "class-map": {"0": "cat", "1": "dog"}, "type": "groundtruth/object-detection"},
    }) + "\n" for path, label in ROWS),
    "via 3.json": json.dumps({
        "project": {"data_format_version": "3.1.0"}, "config": {},
        "attribute": {"1": {"aname": "animal", "type": 4, "options": {"0": "cat", "1": "dog"}}, "2": {"aname": "note", "type": 1, "options": {}}},
        "file": {str(n): {"fid": n, "fname": path, "type": 2, "loc": 1} for n, (path, _) in enumerate(ROWS)},
        "metadata": {f"{n}_a": {"vid": str(n), "xy": [], "av": {"1": NUMBERS[label], "2": "far away"}} for n, (_, label) in enumerate(ROWS)},
        "view": {str(n): {"fid_list": [str(n)]} for n in range(len(ROWS))},
    }),
    "via two attributes.json": json.dumps({
        "_via_img_metadata": {path: {"filename": path, "regions": [], "file_attributes": {"remark": "x", "animal": label}} for path, label in ROWS},
        "_via_attributes": {"region": {}, "file": {"remark": {"type": "text"}, "animal": {"type": "radio", "options": {"cat": "", "dog": ""}}}},
    }),
    "superannotate.json": json.dumps({
        path: {"metadata": {"name": path, "status": "Completed"}, "instances": [{"type": "tag", "className": label}], "tags": []}
        for path, label in ROWS
    }),
    "kili.json": json.dumps([{"externalId": path, "labels": [
        {"author": {"email": "a@e.org"}, "jsonResponse": {"JOB": {"categories": [{"confidence": 100, "name": label}]}}}]} for path, label in ROWS]),
    "encord.json": json.dumps([{
        "data_title": path, "data_units": {f"u{path}": {"data_title": path, "labels": {"objects": [], "classifications": [{"name": "Animal", "classificationHash": "h"}]}}},
        "classification_answers": {"h": {"classifications": [{"name": "Animal", "answers": [{"name": label, "value": label}]}]}},
    } for path, label in ROWS]),
    "herbarium.json": json.dumps({
        "images": [{"image_id": f"i{n}", "file_name": path} for n, (path, _) in enumerate(ROWS)],
        "annotations": [{"image_id": f"i{n}", "category_id": int(NUMBERS[label]), "genus_id": 1} for n, (_, label) in enumerate(ROWS)],
        "categories": [{"category_id": int(n), "family": "pets", "genus": "x", "species": "y", "scientificName": label} for label, n in NUMBERS.items()],
    }),
    "vott.json": json.dumps({"name": "pets", "tags": [{"name": "cat", "color": "#5db300"}, {"name": "dog", "color": "#e81123"}], "assets": {
        f"{n}0a": {"asset": {"format": "jpg", "id": f"{n}0a", "name": path, "path": f"file:C:/Users/me/{path}", "state": 2, "type": 1},
                   "regions": [{"id": "r", "type": "RECTANGLE", "tags": [label], "points": []}], "version": "2.1.0"} for n, (path, label) in enumerate(ROWS)}}),
    "labelu.json": json.dumps([
        {"id": n, "fileName": path, "result": json.dumps({"width": 9, "annotations": {"tagTool": {
            "toolName": "tagTool", "result": [{"id": "x", "type": "tag", "value": {"animal": [label]}}]}}})} for n, (path, label) in enumerate(ROWS)]),
    "clarifai.json": json.dumps([
        {"id": f"i{path}", "data": {"image": {"url": f"gs://e/{path}"}, "concepts": [
            {"id": one, "name": one, "value": int(one == label)} for one in NUMBERS]}} for path, label in ROWS]),
    "weka.arff": "% pets\n@relation pets\n@attribute 'file name' string\n@attribute class {cat,dog}\n@data\n" + table("", "{path},{label}"),
    "labels.md": "# Pets\n\n" + table("| file | label |\n|:-----|------:|", "| {path} | {label} |") + "\nThat is all.\n",
    "pets.yaml": "# who is who\npets:\n" + table("", "  {path}: '{label}'  # seen"),
    "records.xml": "<pets>" + "".join(f"<pet><file>{path}</file><class>{label}</class></pet>" for path, label in ROWS) + "</pets>",
    "lvis.json": json.dumps({**COCO, "images": [{"id": n, "coco_url": f"http://e.org/train2017/{path}"} for n, (path, _) in enumerate(ROWS)]}),
    "crlf.jsonl": "".join(json.dumps({"image": path, "category": label}) + "\r\n" for path, label in ROWS),
    "cvat.xml": "<?xml version='1.0'?><annotations>" + "".join(
        f'<image id="0" name="{path}"><box label="{label}" xtl="1"/></image>' for path, label in ROWS
    ) + "</annotations>",
}  # fmt: skip


@pytest.mark.parametrize("place", ["beside", "folder", "zip"])
@pytest.mark.parametrize("name", LISTS)
def test_every_form_gives_the_labels(tmp_path, name, place):
    files = {"set/photos/" + path: photo(n) for n, (path, _) in enumerate(ROWS)} if place != "beside" else {}
    if place == "beside":
        files = {"set/" + path: photo(n) for n, (path, _) in enumerate(ROWS)}
    files["set/" + name] = LISTS[name].encode()
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        plan = scan([tmp_path / "set.zip"])
    else:
        for path, data in files.items():
            put(tmp_path / path, data)
        plan = scan([tmp_path / "set" / name if place == "beside" else tmp_path / "set"])
    assert labels(plan) == PETS, plan.notes
    assert plan.complete, plan.notes
    assert not plan.ignored


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_of_lists(tmp_path, encoding):
    put(tmp_path / "1.jpg", photo(1))
    put(tmp_path / "l.csv", "Datei;Klasse\r\n1.jpg;Käfer\r\n".encode(encoding))
    assert labels(scan([tmp_path / "l.csv"])) == {"käfer": ["1.jpg"]}
    (tmp_path / "l.csv").rename(tmp_path / "labels.csv")
    assert labels(scan([tmp_path])) == {"käfer": ["1.jpg"]}


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("iso8859-2", "źdźbło"), ("cp1250", "šťastný_pes"), ("koi8-r", "кошка"), ("koi8-r", "собака"), ("cp1251", "собака"),
        ("cp1253", "σκύλος"), ("cp1255", "חתול"), ("cp1256", "كلب"), ("cp874", "ช้าง"), ("mac-roman", "Käse"), ("cp850", "Käse"),
    ],
)  # fmt: skip
def test_encodings_that_are_guessed_are_said(tmp_path, encoding, words):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "l.csv", f"file;class\r\np0.jpg;{words}\r\n".encode(encoding))
    plan = scan([tmp_path / "l.csv"])
    assert [item.original_label for item in plan.items] == [words]
    assert any(encoding in note and f"“{words}”" in note for note in plan.notes)


@pytest.mark.parametrize(
    "words",
    [
        "Käse;20 °C", "Käse;5 €", "Größe;20 °C", "Käse;„gut“", "crème;it’s", "20 °C;x", "£5;x", "10 €;x", "cat’s;x",
        "Lego™;x", "5×3;x", "½;x", "10–20;x", "red – big;x", "etc…;x", "5 m²;x", "Ä;x", "Ö;x", "«thé»;x", "10\xa0km;x",
    ],
)  # fmt: skip
def test_signs_are_read_in_the_encoding_of_windows(words):
    table = f"file;class;note\r\np0.jpg;{words}\r\n"
    assert decode_text(table.encode("cp1252")) == (table, "cp1252")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", "«кошка»;20 °C;собака – №5"), ("cp1253", "γάτα;5 €;“σκύλος”"), ("cp1255", "חתול;5 €"), ("cp932", "ネコ"),
        ("cp1250", "„kočka“;příklad"), ("cp1250", "żółw;5 €;gęś"), ("cp1250", "żaba;kość"), ("cp874", "ปลา"),
        ("gb18030", "老虎;“x”;5×3"), ("cp932", "x犬の写真\n" * 9999), ("gb18030", "x照片\n" * 19999),
    ],
)  # fmt: skip
def test_signs_and_long_texts_in_other_encodings(encoding, words):
    assert decode_text(f"a;{words}".encode(encoding)) == (f"a;{words}", encoding)


def test_lines_of_two_encodings_are_read_each_in_its_own(tmp_path):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "p1.jpg", photo(1))
    put(tmp_path / "l.csv", "file,class\np0.jpg,кошка\n".encode() + "p1.jpg,Käfer\n".encode("cp1252"))
    plan = scan([tmp_path / "l.csv"])
    assert list(labels(plan)) == ["кошка", "käfer"]
    assert any("cp1252" in note for note in plan.notes)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_packed_list(tmp_path, suffix, pack):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    file = put(tmp_path / f"labels.csv{suffix}", pack(table("file,label", "{path},{label}").encode()))
    assert labels(scan([file])) == labels(scan([tmp_path])) == PETS
    file.write_bytes(file.read_bytes()[:-9])
    assert scan([file]).notes == [f"“labels.csv{suffix}” is not understood: it cannot be unpacked."]


@pytest.mark.parametrize(
    ("text", "splits"),
    [
        ("file,label,is_train\np0.jpg,cat,1\np1.jpg,dog,0\n", ["train", "test"]),
        ("file,label,is_valid\np0.jpg,cat,True\np1.jpg,dog,False\n", ["validation", "train"]),
        ("file,label,test\np0.jpg,cat,0\np1.jpg,dog,1\n", ["train", "test"]),
        ("file,label,partition\np0.jpg,cat,0\np1.jpg,dog,2\n", ["train", "test"]),
        ("file,label,split\np0.jpg,cat,1\np1.jpg,dog,2\n", ["validation", "test"]),
    ],
)
def test_columns_that_say_the_part_by_numbers(tmp_path, text, splits):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "p1.jpg", photo(1))
    plan = scan([put(tmp_path / "l.csv", text.encode())])
    assert [item.split for item in plan.items] == splits
    assert list(labels(plan)) == ["cat", "dog"]


@pytest.mark.parametrize(
    "text",
    [
        "file,label\np0.jpg,cat|dog\np1.jpg,dog\n",
        'file,tags\np0.jpg,"cat, dog"\np1.jpg,dog\n',
        "file,cat,dog\np0.jpg,1,1\np1.jpg,0,1\n",
    ],
)
def test_several_labels_of_one_photo_are_said(tmp_path, text):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "p1.jpg", photo(1))
    plan = scan([put(tmp_path / "l.csv", text.encode())])
    assert labels(plan) == {"cat": ["p0.jpg"], "dog": ["p0.jpg", "p1.jpg"]}
    assert any("gives several labels to “p0.jpg” (cat, dog)" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["p0.jpg red", "p1.jpg car", "p2.jpg red car"], {"red", "car", "red_car"}),
        (["p0.jpg\tsea", "p1.jpg\tlion", "p2.jpg\tsea lion"], {"sea", "lion", "sea_lion"}),
        (["p0.jpg,apple", "p1.jpg,pie", "p2.jpg,apple pie"], {"apple", "pie", "apple_pie"}),
        (["file,labels", "p0.jpg,New_York city", "p1.jpg,Paris"], {"new_york_city", "paris"}),
        (["file,classes", "p0.jpg,Boeing_737 small", "p1.jpg,Boeing_747"], {"boeing_737_small", "boeing_747"}),
        (["file,labels", "p0.jpg,red", "p1.jpg,red New_car", "p2.jpg,New_car"], {"red", "new_car"}),
        (["p0.jpg a b", "p1.jpg b c", "p2.jpg a c", "p3.jpg a", "p4.jpg b", "p5.jpg c"], {"a", "b", "c"}),
    ],
)
def test_labels_of_two_words_are_one(tmp_path, rows, expected):
    for number in range(6):
        put(tmp_path / f"p{number}.jpg", photo(number))
    suffix = "csv" if "," in rows[0] else "txt"
    assert set(labels(scan([put(tmp_path / f"l.{suffix}", "\n".join(rows).encode())]))) == expected


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("file,class,Usage\np0.jpg,a,Training\np1.jpg,b,PublicTest\n", {"a": "train", "b": ""}, "“PublicTest” in the column “Usage” is no"),
        ("Path,ClassId,Occluded\np0.jpg,0,0\np1.jpg,1,0\np2.jpg,0,1\np3.jpg,1,1\n", {"0": "", "1": ""}, ""),
        ("Path,ClassId,A,B\np0.jpg,0,0,1\np1.jpg,1,1,0\np2.jpg,0,0,1\n", {"b": "", "a": ""}, ""),
        ("file,label\np0.jpg,0.5\np1.jpg,1\np2.jpg,2\n", {"0_5": "", "1": "", "2": ""}, ""),
        ("file,label\np0.jpg,0.51\np1.jpg,0.2\n", {"": ""}, "“0.2”, “0.51” in the column “label” are no label"),
        ("image,class,species\np0.jpg,Aves,Parus major\np1.jpg,Aves,Turdus merula\np2.jpg,Aves,Parus major\n", {"parus_major": "", "turdus_merula": ""}, ""),
        ("image,label,finding\np0.jpg,cat,big\np1.jpg,dog,big\np2.jpg,dog,small\n", {"cat": "", "dog": ""}, "the column “label”, not of “finding”"),
        ('file,label\np0.jpg,"big \\"cat\\", red"\np1.jpg,dog\n', {"big_cat_red": "", "dog": ""}, ""),
        ("p0 Boeing 737\np1 Boeing 747\np2 Cessna 172\n", {"boeing_737": "", "boeing_747": "", "cessna_172": ""}, ""),
        ("p0.jpg Boeing 737\np1.jpg Boeing 747\np2.jpg A340\n", {"boeing_737": "", "boeing_747": "", "a340": ""}, ""),
        ("p0.jpg cat 1\np1.jpg dog 2\np2.jpg cat 1\n", {"cat": "", "dog": ""}, ""),
        ("image,cat,dog,bird\np0.jpg,4,1,5\np1.jpg,9,1,0\np2.jpg,0,10,0\np3.jpg,5,5,0\n", {"bird": "", "cat": "", "dog": "", "": ""}, "the highest of the columns “cat”, “dog”, “bird”; 1 photo"),
        ("Bild;Katze;Hund\np0.jpg;0,93;0,07\np1.jpg;0,2;0,8\n", {"katze": "", "hund": ""}, "the highest of the columns “Katze”, “Hund”"),
        ("image,cat,dog\np0.jpg,1.0,\np1.jpg,,1.0\np2.jpg,-1.0,1.0\n", {"cat": "", "dog": ""}, ""),
        ("mediaID,filePath,deploymentID\nm1,p0.jpg,d1\nm2,p1.jpg,d1\nm3,p2.jpg,d2\n", {"": ""}, "3 photos without a label"),
        ("file,age,race\np0.jpg,9-19,x\np1.jpg,20-29,y\np2.jpg,20-29,y\n", {"": ""}, "no column is called “label”: if one of “age”, “race” holds the labels, rename it"),
        ("file,points,expression\np0.jpg,1.5;2.5,cat\np1.jpg,1.5;2.25,dog\n", {"cat": "", "dog": ""}, ""),
        ("file,type,topics,place\np0.jpg,image,a,x\np1.jpg,image,b,x\np2.jpg,image,b,x\n", {"a": "", "b": ""}, ""),
        ('filename,file_attributes,region_attributes\np0.jpg,"{""kind"": ""cat""}",{}\np1.jpg,"{""kind"": ""dog""}",{}\n', {"cat": "", "dog": ""}, ""),
        ("file,class,split\np0.jpg,cat,0\np1.jpg,dog,1\n", {"cat": "", "dog": ""}, "“0”, “1” in the column “split” are no known part"),
        ("file,type\np0.jpg,cat\np1.jpg,cat\n", {"cat": ""}, ""),
        ("p0.jpg 1\np1.jpg 2\np2.jpg 3\n", {"": ""}, "The numbers in “l.txt” count the lines there"),
        ("id,kind,name\np0,cat,a\np1,dog,b, or c\n", {"cat": "", "dog": ""}, ""),
        ("file,lesion,itch,bleed\np0.jpg,nevus,True,False\np1.jpg,nevus,False,False\np2.jpg,wart,True,True\n", {"": ""}, "if “lesion” holds the labels, rename it; “itch”, “bleed” say yes and no, and are taken for no labels beside it"),
        ("file,lesion,itch,bleed\np0.jpg,nevus,True,False\np1.jpg,nevus,True,False\np2.jpg,wart,False,True\n", {"itch": "", "bleed": ""}, ""),
        ("id,product_code,name,colour_code\np0,0108775,Strap top,09\np1,0108775,Strap top,10\np2,0108778,Bra,09\n", {"strap_top": "", "bra": ""}, ""),
        ("image,sender_id,label\np0,124,Not sure\np1,148,T-Shirt\np2,43,T-Shirt\n", {"not_sure": "", "t_shirt": ""}, ""),
        ("image,sender_id,remark\np0,124,Not sure\np1,148,T-Shirt\np2,43,T-Shirt\n", {"": ""}, "3 photos without a label"),
        ("image,image_phash,title,label_group\np0,94974f937d4c2433,A bag,24\np1,af3f9460c2838f0f,Tape,29\np2,b94cb00ed3e50f78,Meat,24\n", {"24": "", "29": ""}, ""),
        ("id,attribute_ids\np0,0 2\np1,1\np2,1 2 0\n", {"0": "", "1": "", "2": ""}, "several labels to “p0” (0, 2)"),
        ("id,tags\np0,haze primary\np1,partly clear primary water\np2,cloudy\n", {"haze": "", "primary": "", "partly": "", "clear": "", "water": "", "cloudy": ""}, "each word in the column “tags” is taken for a label"),
        ("id,tags\np0,beach\np1,beach sea\np2,beach\n", {"beach": "", "sea": ""}, "each word in the column “tags” is taken for a label"),
        ("id,tags\np0,black cat\np1,white cat\np2,great white shark\n", {"black_cat": "", "white_cat": "", "great_white_shark": ""}, ""),
        ("id,labels\np0,hot dog\np1,dog\np2,polar bear\n", {"hot_dog": "", "dog": "", "polar_bear": ""}, ""),
        ("path,label,clean_label\np0.jpg,cat,cat\np1.jpg,cat,dog\np2.jpg,dog,dog\n", {"cat": "", "dog": ""}, "the column “clean_label”, not of “label”"),
        ("img_file_name,img_rank,object_category\n[t],[f],[t]\np0.jpg,0,copepod\np1.jpg,1,detritus\np2.jpg,0,detritus\n", {"copepod": "", "detritus": ""}, ""),
        ("image name,class,size\nstring,discrete,continuous\nmeta,class,\np0.jpg,cat,9\np1.jpg,dog,8\n", {"cat": "", "dog": ""}, ""),
        ("Image_Label,EncodedPixels\np0.jpg_Fish,9 3 12 4\np0.jpg_Sugar,\np1.jpg_Fish,\np1.jpg_Sugar,8 1\n", {"fish": "", "sugar": ""}, ""),
        ("cat,dog\np0.jpg,p1.jpg\np2.jpg,\n", {"cat": "", "dog": ""}, "the names of the columns “cat”, “dog” are taken for labels"),
        ("train,test\np0.jpg,p1.jpg\np2.jpg,\n", {"": "train"}, "are taken for parts of the set"),
        ("cat,dog\np0.jpg,p1.jpg\n", {"": ""}, "the columns “cat”, “dog” hold photos: if they are classes, write one photo a line"),
        ("image,mask\np0.jpg,p1.jpg\np2.jpg,\n", {"": ""}, "without a label"),
        ('p0.jpg|ball|{"x": 1}|\np1.jpg|ball|{"x": 2, "y": 3}|b\np2.jpg|robot|none\n', {"ball": "", "robot": ""}, ""),
        ("p0.jpg 1 9 10 3 4 10\np1.jpg 2 9 10 3 4 11\n", {"": ""}, "6 columns of numbers have no names"),
        ("image,chain,hotel_id\np0.jpg,9,55\np1.jpg,9,55\np2.jpg,3,56\np3.jpg,3,57\n", {"9": "", "3": ""}, "the column “chain”, not of “hotel_id”"),
        ("Datei;Katze;Hund\np0.jpg;WAHR;FALSCH\np1.jpg;FALSCH;WAHR\n", {"katze": "", "hund": ""}, ""),
        ("fichier;chat;chien\np0.jpg;VRAI;FAUX\np1.jpg;FAUX;VRAI\n", {"chat": "", "chien": ""}, ""),
    ],
)  # fmt: skip
def test_columns_beside_the_labels(tmp_path, text, expected, said):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    plan = scan([put(tmp_path / ("l.csv" if "," in text else "l.txt"), text.encode())])
    assert {item.label: item.split for item in plan.items} == expected
    assert any(said in note for note in plan.notes) if said else not plan.notes


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("list.txt", "x_0.jpg 5\nx_1.jpg 5\n", "No photo in “list.txt” is there: “x_0.jpg”, “x_1.jpg”. Its labels"),
        ("l.csv", "file,label\nx_0.jpg,a\nx_1.jpg,b\n", "No photo in “l.csv” is there: “x_0.jpg”, “x_1.jpg”."),
        (
            "l.csv",
            "Id,Target\n00b,16 0\n01c,7\n",
            "“l.csv” has labels, but no photo is called as in its column “Id” (“00b”).",
        ),
        ("l.csv", "image_id,label\n7,cat\n8,dog\n", "no photo is called as in its column “image_id” (“7”)."),
        (
            "l.csv",
            "file,label\np0.jpg,cat\np1.jpg,cat\n.\\P0.JPG,dog\n",
            "which it calls “p0.jpg” and “.\\P0.JPG” (cat, dog)",
        ),
    ],
)
def test_a_list_that_is_of_no_use_or_contradicts_itself_is_named(tmp_path, name, text, said):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "p1.jpg", photo(1))
    put(tmp_path / name, text.encode())
    assert any(said in note for note in scan([tmp_path]).notes)


def test_a_class_called_as_a_part_of_a_set_keeps_its_name(tmp_path):
    rows = [(label, number) for number, label in enumerate(["car", "bus", "train"])] * 2
    for place, (label, _) in enumerate(rows):
        put(tmp_path / label / f"{place}.jpg", photo(place))
    put(tmp_path / "l.txt", "".join(f"{label}/{place}.jpg {n}\n" for place, (label, n) in enumerate(rows)).encode())
    assert set(labels(scan([tmp_path]))) == {"car", "bus", "train"}


def test_numbers_beside_names_are_no_other_label(tmp_path):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "a.csv", b"file,label\np0.jpg,cat\n")
    put(tmp_path / "b.txt", b"p0.jpg 1\n")
    assert not scan([tmp_path]).notes


def test_a_printed_table_and_rows_of_several_labels(tmp_path):
    for number in range(3):
        put(tmp_path / f"p{number}.jpg", photo(number))
    printed = put(
        tmp_path / "l.txt", b" filename | label \n----------+-------\n p0.jpg   | cat\n p1.jpg   | dog\n(2 rows)\n"
    )
    assert labels(scan([printed])) == {"cat": ["p0.jpg"], "dog": ["p1.jpg"]}
    ragged = put(tmp_path / "l.csv", b"p0.jpg,daisy\np1.jpg,daisy,rose\np2.jpg,tulip\n")
    assert labels(scan([ragged])) == {"daisy": ["p0.jpg", "p1.jpg"], "rose": ["p1.jpg"], "tulip": ["p2.jpg"]}


def test_a_list_without_a_suffix_is_read_alone(tmp_path):
    put(tmp_path / "images/p0.jpg", photo(0))
    put(tmp_path / "images/p1.jpg", photo(1))
    assert list(labels(scan([put(tmp_path / "train", b"images/p0.jpg cat\nimages/p1.jpg dog\n")]))) == ["cat", "dog"]


@pytest.mark.parametrize(
    "text",
    [
        "epoch,accuracy,loss\n0,0.5,0.69\n1,0.8,0.3\n",
        "  epoch,  loss,  top1\n      0,  0.69,     1\n      1,   0.4,     1\n",
    ],
)
def test_a_log_of_training_asks_for_no_labels(tmp_path, text):
    put(tmp_path / "cat/0.jpg", photo(0))
    put(tmp_path / "dog/1.jpg", photo(1))
    put(tmp_path / "log.csv", text.encode())
    plan = scan([tmp_path])
    assert set(labels(plan)) == {"cat", "dog"} and not plan.notes


def test_a_column_that_differs_in_every_row_is_no_class(tmp_path):
    for number in range(20):
        put(tmp_path / f"{number}.png", photo(number))
    rows = "".join(f"{number}.png,Bag of {chr(65 + number)}.\n" for number in range(20))
    plan = scan([put(tmp_path / "l.csv", f"file,wording\n{rows}".encode())])
    assert {item.label for item in plan.items} == {""}
    assert any("if “wording” holds the labels, rename it" in note for note in plan.notes)


def test_a_column_of_folders_beside_the_names_finds_photos_of_one_name(tmp_path):
    for number, folder in enumerate(["A/1", "B/1"]):
        put(tmp_path / folder / "1.jpg", photo(number))
    put(tmp_path / "l.csv", b"RootFolder,File,RelativePath,Species\nx,1.jpg,A\\1,deer\nx,1.jpg,B\\1,fox\n")
    assert list(labels(scan([tmp_path]))) == ["deer", "fox"]


@pytest.mark.parametrize("text", ["path,y\n{}.jpg,0\n{}.jpg,1\n", "x,y\n{},0\n{},1\n", "path,x,y\n{},7,0\n{},7,cat\n"])
def test_a_column_called_y_holds_labels_where_no_numbers_are_called_x(tmp_path, text):
    for number in (1, 2):
        put(tmp_path / f"{number}.jpg", photo(number))
    plan = scan([put(tmp_path / "l.csv", text.format(1, 2).encode())])
    assert [item.label for item in plan.items] == ["0", "cat" if "cat" in text else "1"]


def test_a_label_of_several_words_is_one(tmp_path):
    for name in ("p0.jpg", "p1.jpg", "p2.jpg"):
        put(tmp_path / name, photo(int(name[1])))
    plan = scan([put(tmp_path / "l.csv", b'file,label\np0.jpg,"hat, red"\np1.jpg,hot dog\np2.jpg,dog\n')])
    assert list(labels(plan)) == ["hat_red", "hot_dog", "dog"]


def test_lists_and_folders_that_disagree(tmp_path):
    put(tmp_path / "cat/p0.jpg", photo(0))
    put(tmp_path / "dog/p1.jpg", photo(1))
    put(tmp_path / "cat/p2.jpg", photo(2))
    put(tmp_path / "a.csv", b"file,label\ncat/p0.jpg,dog\ndog/p1.jpg,dog\ncat/p2.jpg,cat\n")
    put(tmp_path / "b.csv", b"file,label\ndog/p1.jpg,bird\n")
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["p2.jpg"], "dog": ["p0.jpg", "p1.jpg"]}
    assert any("1 photo lies in the folder of another label" in note for note in plan.notes)
    assert any(
        "“b.csv” gives 1 photo another label than “a.csv”, which counts: “p1.jpg” is “dog”, not “bird”." in note
        for note in plan.notes
    )


def test_names_are_matched_in_other_case_and_unicode_form(tmp_path):
    put(tmp_path / unicodedata.normalize("NFD", "Äpfel.JPG"), photo(1))
    put(tmp_path / "metadata.csv", unicodedata.normalize("NFC", "file_name,label\näpfel.jpg,apple\n").encode())
    for dropped in (tmp_path, tmp_path / "metadata.csv"):
        assert list(labels(scan([dropped]))) == ["apple"]


def test_the_column_that_leads_to_files_is_the_path(tmp_path):
    put(tmp_path / "photos/cat/0.jpg", photo(1))
    put(tmp_path / "photos/dog/0.jpg", photo(2))
    put(tmp_path / "l.csv", b"filename,path,label\n0.jpg,photos/cat/0.jpg,cat\n0.jpg,photos/dog/0.jpg,dog\n")
    assert labels(scan([tmp_path / "l.csv"])) == {"cat": ["0.jpg"], "dog": ["0.jpg"]}
    put(tmp_path / "m.csv", b"folder,file,label\nphotos/cat,0.jpg,cat\nphotos/dog,0.jpg,dog\n")
    assert labels(scan([tmp_path / "m.csv"])) == {"cat": ["0.jpg"], "dog": ["0.jpg"]}


def test_an_ambiguous_name_is_no_match(tmp_path):
    put(tmp_path / "a/0.jpg", photo(1))
    put(tmp_path / "b/0.jpg", photo(2))
    put(tmp_path / "l.csv", b"filename,label\n0.jpg,cat\n")
    (item,) = scan([tmp_path / "l.csv"]).items
    assert item.standing is ItemStatus.PROBLEM
    assert "2 photos have this name" in item.problem
    put(tmp_path / "m.csv", b"filename,label\nc/0.jpg,cat\n")
    (item,) = scan([tmp_path / "m.csv"]).items
    assert "No such file" in item.problem
    (tmp_path / "m.csv").unlink()
    plan = scan([tmp_path])
    assert any("does not say which photo it means by “0.jpg” (a/0.jpg or b/0.jpg)" in note for note in plan.notes)


def test_a_list_by_a_relative_path_finds_the_same_photos(tmp_path, monkeypatch):
    for name in ("images/x1.jpg", "IMG_2.JPG", "p3.jpg"):
        put(tmp_path / "s" / name, photo(len(name)))
    put(tmp_path / "s/labels.csv", b"file_name,label\nx1.jpg,cat\nimg_2.jpg,dog\nC:\\Users\\A\\p3,cat\n")
    for folder, path in (
        (tmp_path, "s/labels.csv"),
        (tmp_path / "s", "labels.csv"),
        (tmp_path / "s/images", "../labels.csv"),
    ):
        monkeypatch.chdir(folder)
        assert labels(scan([Path(path)])) == {"cat": ["x1.jpg", "p3.jpg"], "dog": ["IMG_2.JPG"]}


@pytest.mark.parametrize("name", ["trainLabels.csv", "train.csv", "train_list.txt"])
def test_a_list_called_after_a_part_means_the_photos_in_it(tmp_path, name):
    for part in ("train", "test"):
        for number in range(1, 4):
            put(tmp_path / part / f"{number}.png", photo(number + 3 * (part == "test")))
    put(tmp_path / name, b"id,label\n1,frog\n2,truck\n3,frog\n")
    plan = scan([tmp_path])
    assert {label: len(found) for label, found in labels(plan).items()} == {"": 3, "frog": 2, "truck": 1}
    assert {item.split for item in plan.items if item.label} == {"train"}
    assert labels(scan([tmp_path / name])) == {"frog": ["1.png", "3.png"], "truck": ["2.png"]}


@pytest.mark.parametrize(
    ("name", "text", "split"),
    [
        ("test_report.csv", "file,width,height\n{},40,30\n", ""),
        ("validation_errors.csv", "file,width,height\n{},40,30\n", ""),
        ("test.csv", "file,width,height\n{},40,30\n", "test"),
        ("test_list.txt", "file,width,height\n{},40,30\n", "test"),
        ("val_images.csv", "file,width,height\n{},40,30\n", "validation"),
        ("pets_train.txt", "{}\n", "train"),
        ("test_dogs.csv", "file\n{}\n", "test"),
    ],
)
def test_a_list_without_labels_is_a_part_only_where_it_says_no_more(tmp_path, name, text, split):
    for path, label in ROWS:
        put(tmp_path / label / path, photo(int(path[1])))
    put(tmp_path / name, text.format("cat/p0.jpg").encode())
    plan = scan([tmp_path])
    assert labels(plan) == PETS
    assert {item.name: item.split for item in plan.items if item.split} == ({"p0.jpg": split} if split else {})
    assert plan.ignored == ([] if split else [name])


NAMES = {
    "classes.txt": "cat\ndog\n",
    "class_names.txt": "0 cat\n1 dog\n",
    "labels.txt": "cat 0\ndog 1\n",
    "obj.names": "cat\ndog\n",
    "data.yaml": "train: images\nnc: 2\nnames: ['cat', 'dog']\n",
    "dataset.yaml": "names:\n  0: cat\n  1: dog\nnc: 2\n",
    "class_indices.json": '{"cat": 0, "dog": 1}',
    "id2label.json": '{"0": "cat", "1": "dog"}',
    "categories.csv": "y,category_id,name\n0,0,cat\n1,20,dog\n",
    "schema.json": '{"task": "labels", "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}',
    "README.md": "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': cat\n          '1': dog\n---\n# Pets\n",
    "label_map.pbtxt": 'item {\n id: 0\n name: "cat"\n}\nitem {\n id: 1\n name: "dog"\n}\n',
}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_classes_become_the_names_beside_the_list(tmp_path, name):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    put(tmp_path / name, NAMES[name].encode())
    put(tmp_path / "train_list.txt", table("", "{path} {n}").encode())
    for dropped in (tmp_path, tmp_path / "train_list.txt"):
        assert labels(scan([dropped])) == PETS


OF_PHOTOS = {
    "labels.csv": "id,label\n{}",
    "train_labels.csv": "Id,Class\n{}",
    "classes.csv": "id,name\n{}",
    "labels.txt": "{}",
    "labels.json": "",
}


@pytest.mark.parametrize("photos", [["0", "1", "2", "3"], ["0000", "0001", "0002", "0003"], list(map(str, range(20)))])
@pytest.mark.parametrize("name", OF_PHOTOS)
def test_numbers_that_name_photos_are_no_classes(tmp_path, name, photos):
    for number, stem in enumerate(photos):
        put(tmp_path / f"images/{stem}.jpg", photo(number))
    rows = {str(number): label for number, (_, label) in enumerate(ROWS)}
    text = "".join(f"{number} {label}\n" for number, label in rows.items())
    text = text.replace(" ", ",") if name.endswith(".csv") else text
    put(tmp_path / name, (OF_PHOTOS[name].format(text) or json.dumps(rows)).encode())
    plan = scan([tmp_path])
    assert {label: names for label, names in labels(plan).items() if label} == {
        "cat": [f"{photos[0]}.jpg", f"{photos[2]}.jpg"],
        "dog": [f"{photos[1]}.jpg", f"{photos[3]}.jpg"],
    }


@pytest.mark.parametrize(
    ("paths", "more", "expected", "said"),
    [
        (["0.jpg", "1.jpg", "2.jpg"], {}, {"cat": 1, "dog": 1, "bird": 1}, "for a list of photos"),
        (["0.jpg", "1.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg"], {}, {"root": 6}, "for a list of classes"),
        (["0.jpg", "1.jpg", "2.jpg"], {"l.csv": "file,label\n0.jpg,2\n1.jpg,1\n2.jpg,1\n"}, {"bird": 1, "dog": 2}, ""),
        (["0.jpg", "1.jpg", "2.jpg"], {f"{n}.txt": "2 .5 .5 .1 .1\n" for n in range(3)}, {"bird": 3}, ""),
        (["0/0.jpg", "1/1.jpg", "2/2.jpg"], {}, {"cat": 1, "dog": 1, "bird": 1}, ""),
        (["cat/0.jpg", "cat/1.jpg", "dog/2.jpg"], {}, {"cat": 2, "dog": 1}, ""),
    ],
)  # fmt: skip
def test_each_name_once_is_a_class_where_its_number_is_used(tmp_path, paths, more, expected, said):
    for number, path in enumerate(paths):
        put(tmp_path / "root" / path, photo(number))
    for name, text in {"classes.csv": "id,name\n0,cat\n1,dog\n2,bird\n", **more}.items():
        put(tmp_path / "root" / name, text.encode())
    plan = scan([tmp_path / "root"])
    assert {label: len(found) for label, found in labels(plan).items()} == expected
    assert any(f"“classes.csv” is taken {said}" in note for note in plan.notes) == bool(said), plan.notes


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt", "classes.yaml"])
@pytest.mark.parametrize(
    "folders", [["0", "1", "2"], ["1", "2", "3"], ["01", "02", "03"], ["train/1", "train/2", "test/3"]]
)
def test_folders_called_by_number_have_the_names_of_classes(tmp_path, folders, name):
    for number, folder in enumerate(folders):
        put(tmp_path / folder / "a.jpg", photo(number))
    first = "0" in folders
    lines = [f"{number}: {label}" for number, label in enumerate(("cat", "dog", "bird"), not first)]
    put(tmp_path / name, "\n".join(lines if "yaml" in name else [line.split()[1] for line in lines]).encode())
    plan = scan([tmp_path])
    found = {str(item.source.path.parent.relative_to(tmp_path)): item.label for item in plan.items}
    assert found == dict(zip(folders, ("cat", "dog", "bird"), strict=True))


def test_folders_that_lack_the_first_number_are_said(tmp_path):
    for folder in ("1", "2"):
        put(tmp_path / folder / "a.jpg", photo(int(folder)))
    put(tmp_path / "classes.txt", b"cat\ndog\nbird\n")
    plan = scan([tmp_path])
    assert list(labels(plan)) == ["dog", "bird"]
    assert "The names of classes count from 0: the folder “1” is “dog”." in plan.notes


@pytest.mark.parametrize("name", ["classes.txt", "data.yaml", None])
def test_boxes_of_yolo(tmp_path, name):
    for number, (path, label) in enumerate(ROWS):
        put(tmp_path / "images/train" / path, photo(number))
        put(tmp_path / "labels/train" / f"{path[:2]}.txt", f"{NUMBERS[label]} 0.5 0.5 0.2 0.2\n".encode() * 2)
    put(tmp_path / "images/train/p4.jpg", photo(4))
    put(tmp_path / "labels/train/p4.txt", b"0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2")
    if name:
        put(tmp_path / name, NAMES[name].encode())
    plan = scan([tmp_path])
    assert {item.split for item in plan.items} == {"train"}
    assert "p4.jpg" in labels(plan)[""]
    if name:
        assert {label: names for label, names in labels(plan).items() if label} == PETS
        assert any("p4.jpg" in note and "several classes" in note for note in plan.notes)
    else:
        assert set(labels(plan)) == {""}
        assert any("by number only" in note for note in plan.notes)


@pytest.mark.parametrize("line", ["123456 " * 40 + "x", "1 " + "1" * 20_000 + " x", "a " + "0.5 " * 4000 + "-"])
def test_a_text_that_is_nearly_one_of_boxes_is_read_as_fast(tmp_path, line):
    put(tmp_path / "cat/p0.jpg", photo(0))
    put(tmp_path / "cat/p0.txt", line.encode())
    began = time.process_time()
    assert set(labels(scan([tmp_path]))) == {"cat"}
    assert time.process_time() - began < 20  # and not years


def test_one_file_of_annotations_for_each_image(tmp_path):
    for number, (path, label) in enumerate(ROWS):
        put(tmp_path / "voc/JPEGImages" / path, photo(number))
        xml = f"<annotation><filename>{path if number else 'moved.png'}</filename><object><name>{label}</name></object></annotation>"
        put(tmp_path / "voc/Annotations" / f"{path[:2]}.xml", xml.encode())
        put(tmp_path / "labelme" / path, photo(number))
        shapes = {"imagePath": path, "shapes": [{"label": label, "points": [[1, 2]]}], "flags": {}}
        put(tmp_path / "labelme" / f"{path[:2]}.json", json.dumps(shapes).encode())
        put(tmp_path / "plants" / path, photo(number))
        plant = f"<Image><MediaId>{path[:2]}</MediaId><ClassId>7</ClassId><Genus>x</Genus><Species>{label}</Species></Image>"
        put(tmp_path / "plants" / f"{path[:2]}.xml", plant.encode())
        put(tmp_path / "labelbee" / path, photo(number))
        step = {"toolName": "tagTool", "result": [{"id": "a", "sourceID": "", "result": {"class1": label}}]}
        put(tmp_path / "labelbee" / f"{path}.json", json.dumps({"width": 9, "valid": True, "step_1": step}).encode())
    assert labels(scan([tmp_path / "voc"])) == PETS
    assert labels(scan([tmp_path / "labelme"])) == PETS
    for name in ("labelbee", "plants"):
        assert labels(scan([tmp_path / name])) == PETS


BIG, ODD_NAME = "'dog, [big]'", r'"it\'s \"so\" # x"'.replace(r"\'", "'")
QUOTED = {
    "flow": f"names: [cat, {BIG}, {ODD_NAME}, plain]\nnc: 4\n",
    "lines": f"nc: 4\nnames: [\n  cat,  # the first, of four\n  {BIG},\n  'it''s \"so\" # x', plain\n]\n",
    "mapping": f"names: {{0: cat, 1: {BIG}, 2: {ODD_NAME}, 3: plain}}\n",
    "block": f"names:\n  - cat # the first\n  - {BIG}\n  - {ODD_NAME}\n  - plain\n",
    "numbered": f"names:\n  0: cat\n  1: {BIG}\n  2: 'it''s \"so\" # x'\n  3: plain\n",
}


@pytest.mark.parametrize("form", QUOTED)
def test_quotes_in_yaml_keep_what_is_in_them(form):
    read = reader.class_names(QUOTED[form].encode(), "data.yaml")
    assert read == {"0": "cat", "1": "dog, [big]", "2": 'it\'s "so" # x', "3": "plain"}


def records(*rows, **more):
    return [{"img": path, **({"label": label} if label else {}), **more} for path, label in rows]


BARE = [(path, "") for path, _ in ROWS]
CATS, DOGS = [("p0.jpg", ""), ("p2.jpg", "")], [("p1.jpg", ""), ("p3.jpg", "")]
PARTED = {"dataset": {"train": records(*ROWS[:2]), "val": records(*ROWS[2:])}}
SEVERAL_LISTS = {
    "parts": PARTED,
    "parts of pairs": {"version": 1, "reviewed": ROWS[:3], "pending": ROWS[3:]},
    "states": {"version": 1, "reviewed": records(*ROWS[:3]), "pending": records(*ROWS[3:])},
    "classes": {"cat": records(*CATS), "dog": records(*DOGS)},
    "classes and more": {"version": 2, "classes": {"cat": records(*CATS, note="a b"), "dog": records(*DOGS, note="c")}},
    "classes of paths": {"made": "2024", "cat": PETS["cat"], "dog": PETS["dog"]},
    "classes with fields": {"cat": {"images": PETS["cat"], "n": 2}, "dog": {"images": PETS["dog"], "n": 2}},
    "classes by part": {"train": {"cat": records(*CATS), "dog": records(DOGS[0])}, "val": {"dog": records(DOGS[1])}},
    "paths of a class": [{"label": "cat", "images": PETS["cat"]}, {"label": "dog", "images": PETS["dog"]}],
    "albums": {"albums": [{"name": label, "photos": [{"uri": path} for path in paths]} for label, paths in PETS.items()]},
    "titles of albums": {"albums": [{"title": label, "images": paths} for label, paths in PETS.items()]},
    "keys of a database": {"images": {"-a": {"path": "p0.jpg", "label": "cat"}, "-b": {"path": "p2.jpg", "label": "cat"}},
                           "more": {"-c": {"path": "p1.jpg", "label": "dog"}, "-d": {"path": "p3.jpg", "label": "dog"}}},
    "images and labels": {"images": [{"file_name": path} for path, _ in ROWS], "annotations": records(*ROWS)},
    "licenses": {"licenses": [{"url": "http://e.org/by", "id": n} for n in range(9)], "images": records(*ROWS)},
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL_LISTS)
def test_all_lists_in_a_json_count(tmp_path, name):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    plan = scan([put(tmp_path / "all.json", json.dumps(SEVERAL_LISTS[name]).encode())])
    assert {label: sorted(paths) for label, paths in labels(plan).items()} == PETS, plan.notes
    if SEVERAL_LISTS[name] is PARTED:
        assert [item.split for item in plan.items] == ["train", "train", "validation", "validation"]


def test_lists_in_a_json_that_say_no_label(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    for value in (
        {"images": records(*BARE[:3]), "stories": records(*BARE[3:])},
        {"images": [path for path, _ in ROWS]},
    ):
        assert labels(scan([put(tmp_path / "all.json", json.dumps(value).encode())])) == {
            "": [path for path, _ in ROWS]
        }
    value = {"cat": PETS["cat"], "unlabeled": PETS["dog"]}
    assert labels(scan([put(tmp_path / "all.json", json.dumps(value).encode())])) == {
        "cat": PETS["cat"],
        "": PETS["dog"],
    }
    lines = "".join(
        json.dumps({"class": label, "files": paths, "split": "val"}) + "\n" for label, paths in PETS.items()
    )
    plan = scan([put(tmp_path / "all.jsonl", lines.encode())])
    assert labels(plan) == PETS
    assert {item.split for item in plan.items} == {"validation"}


ALBUMS = {
    "album": {"albums": [{"name": "Holiday", "photos": ["cat/p0.jpg", "dog/p1.jpg"]}]},
    "titles": {"albums": [{"title": "Holiday", "images": ["cat/p0.jpg", "dog/p1.jpg"]}]},
    "key": {"favorites": ["cat/p0.jpg", "dog/p1.jpg"]},
    "keys": {"todo": ["cat/p0.jpg"], "done": ["dog/p1.jpg"]},
    "keys of records": {"errors": [{"file": "cat/p0.jpg", "message": "bad"}], "warnings": [{"file": "dog/p1.jpg", "message": "small"}]},
    "lines": {"name": "Holiday", "photos": ["cat/p0.jpg", "dog/p1.jpg"]},
}  # fmt: skip


@pytest.mark.parametrize("name", ALBUMS)
def test_names_of_albums_give_way_to_folders_and_to_labels(tmp_path, name):
    for number, (path, label) in enumerate(ROWS):
        put(tmp_path / label / path, photo(number))
    put(tmp_path / ("a.jsonl" if name == "lines" else "a.json"), json.dumps(ALBUMS[name]).encode())
    plan = scan([tmp_path])
    assert labels(plan) == PETS
    assert any("gives photos the names of lists for labels" in note for note in plan.notes)
    put(tmp_path / "b.csv", b"file,label\ncat/p0.jpg,bird\n")
    assert labels(scan([tmp_path])) == {"bird": ["p0.jpg"], "cat": ["p2.jpg"], "dog": PETS["dog"]}


@pytest.mark.parametrize("folders", [["pets", "pets"], ["pets/one", "pets/two"], ["cat", "dog"]])
def test_names_of_lists_are_labels_where_folders_say_less_or_a_key_says_so(tmp_path, folders):
    paths = {label: [f"{folders[number]}/p{number}.jpg"] for number, label in enumerate(("Cat", "Dog"))}
    for number in range(2):
        put(tmp_path / folders[number] / f"p{number}.jpg", photo(number))
    said = {"classes": paths} if "/" in folders[0] else paths
    put(tmp_path / "a.json", json.dumps(said).encode())
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["p0.jpg"], "dog": ["p1.jpg"]}
    assert not any("names of lists" in note for note in plan.notes)


def test_a_field_called_label_above_images_goes_before_folders(tmp_path):
    for number, (path, label) in enumerate(ROWS):
        put(tmp_path / label / path, photo(number))
    value = {"groups": [{"label": "bird", "name": "x", "photos": ["cat/p0.jpg", "dog/p1.jpg"]}]}
    put(tmp_path / "a.json", json.dumps(value).encode())
    assert labels(scan([tmp_path])) == {"bird": ["p0.jpg", "p1.jpg"], "cat": ["p2.jpg"], "dog": ["p3.jpg"]}


def test_images_of_a_json_that_are_not_taken_are_said(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    value = {"images": records(*ROWS), "checked": records(("p0.jpg", "dog")), "overlays": [{"mask": "m0.png"}]}
    plan = scan([put(tmp_path / "all.json", json.dumps(value).encode())])
    assert labels(plan) == PETS
    assert "“all.json”: it lists “p0.jpg” again with another label: the first counts." in plan.notes
    assert "“all.json”: the images under “overlays.mask” are not taken." in plan.notes


def test_an_image_with_objects_of_several_classes_is_named(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    more = {**COCO, "annotations": [*COCO["annotations"], {"image_id": 1, "category_id": 1}]}
    put(tmp_path / "coco.json", json.dumps(more).encode())
    plan = scan([tmp_path / "coco.json"])
    assert labels(plan) == {"cat": PETS["cat"], "": ["p1.jpg"], "dog": ["p3.jpg"]}
    assert any("“p1.jpg” (dog, cat)" in note for note in plan.notes)


def test_labels_of_people_go_before_those_of_a_detector(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    found = [{"file": path, "detections": [{"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}]} for path, _ in ROWS]
    found.append({**found[0], "file": "p4.jpg"})
    animals = json.dumps({"images": found, "detection_categories": {"1": "animal", "2": "person"}}).encode()
    put(tmp_path / "p4.jpg", photo(4))
    assert set(labels(scan([put(tmp_path / "a_found.json", animals)]))) == {"animal"}
    put(tmp_path / "z_annotations.json", json.dumps(COCO).encode())
    away = {"images": [{"file_name": "p4.jpg", "location": 1}], "categories": COCO["categories"]}
    put(tmp_path / "b_unlabeled.json", json.dumps(away).encode())
    plan = scan([tmp_path])
    assert labels(plan) == {**PETS, "animal": ["p4.jpg"]}
    assert any("“a_found.json” gives 4 photos another label" in note for note in plan.notes)
    for label, path in (("cat", "p0.jpg"), ("dog", "p1.jpg")):
        put(tmp_path / "sorted" / label / path, photo(label == "dog"))
    put(tmp_path / "sorted/found.json", animals)
    assert labels(scan([tmp_path / "sorted"])) == {"cat": ["p0.jpg"], "dog": ["p1.jpg"]}


def test_a_split_in_a_list_is_kept(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        put(tmp_path / path, photo(number))
    put(
        tmp_path / "l.csv",
        b"path,label,split\np0.jpg,cat,train\np1.jpg,dog,val\np2.jpg,cat,TEST\np3.jpg,dog,Training\n",
    )
    plan = scan([tmp_path])
    assert [item.split for item in plan.items] == ["train", "validation", "test", "train"]
    assert labels(plan) == PETS


def test_several_lists_in_a_folder_are_one(tmp_path):
    for number, (path, label) in enumerate(ROWS):
        part = "train" if number < 2 else "test"
        put(tmp_path / part / path, photo(number))
        with (tmp_path / f"{part}.csv").open("a") as file:
            file.write(f"{path},{label}\n")
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["p2.jpg", "p0.jpg"], "dog": ["p3.jpg", "p1.jpg"]}
    assert {item.name: item.split for item in plan.items}["p0.jpg"] == "train"


CAT_AND_DOG = [f"{'cat' if number < 3 else 'dog'}/{number}.jpg" for number in range(6)]


def table_of_cats_and_dogs(header: str, row: str, words: tuple[str, str] = ("0", "1")) -> str:
    """A table of CAT_AND_DOG: `row` is a form with `path`, `number` and `word`, one of two in turn."""
    rows = [row.format(path=path, number=number, word=words[number % 2]) for number, path in enumerate(CAT_AND_DOG)]
    return "\n".join([*filter(None, [header]), *rows, ""])


def records_of_cats_and_dogs(row: str) -> str:
    """A JSON array of objects, each with `file` and what `row` has, in the same form with doubled braces."""
    return "[" + table_of_cats_and_dogs("", '{{"file": "{path}", ' + row + "}},").strip().rstrip(",") + "]"


def test_folders_name_what_a_list_only_numbers(tmp_path):
    put(tmp_path / "cat/0.jpg", photo(1))
    put(tmp_path / "dog/1.jpg", photo(2))
    put(tmp_path / "index.csv", b"path,label\ncat/0.jpg,0\ndog/1.jpg,1\n")
    assert labels(scan([tmp_path])) == {"cat": ["0.jpg"], "dog": ["1.jpg"]}


@pytest.mark.parametrize(
    ("paths", "rows", "expected"),
    [
        (["cropped/p0.jpg", "cropped/p1.jpg", "cropped/p2.jpg"], "filename,label\np0.jpg,0\np1.jpg,1\np2.jpg,0\n", {"0": 2, "1": 1}),
        (["0/a/0a1b.jpg", "1/b/1b2c.jpg", "f/0/f00d.jpg"], "id,url,landmark_id\n0a1b,https://e.org/0a1b.jpg,17\n1b2c,https://e.org/1b2c.jpg,18\nf00d,https://e.org/f00d.jpg,19\n", {"17": 1, "18": 1, "19": 1}),
        (["batch_0/a.jpg", "batch_0/b.jpg", "batch_1/c.jpg", "batch_1/d.jpg"], "f,label\na.jpg,0\nb.jpg,1\nc.jpg,0\nd.jpg,1\n", {"0": 2, "1": 2}),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/c.jpg"], "path,label\ntrain/cat/a.jpg,0\ntrain/dog/b.jpg,1\ntest/c.jpg,1\n", {"cat": 1, "dog": 2}),
        (["clip/cat/a.jpg", "clip/dog/b.jpg", "real/cat/c.jpg", "real/dog/d.jpg"], "clip/cat/a.jpg 0\nclip/dog/b.jpg 1\nreal/cat/c.jpg 0\nreal/dog/d.jpg 1\n", {"cat": 2, "dog": 2}),
        (["cat/a.jpg", "dog/b.jpg"], "path,label\ncat/a.jpg,1\ndog/b.jpg,1\n", {"cat": 1, "dog": 1}),
        (["cat/1.jpg", "dog/2.jpg"], "0000139e-21dc cat/1.jpg\n00027bd4-aa dog/2.jpg\n", {"cat": 1, "dog": 1}),
        (["cat/1.jpg", "cat/2.jpg", "cat/3.jpg"], "1 cat/1.jpg\n2 cat/2.jpg\n3 cat/3.jpg\n", {"cat": 3}),
        (["x/a.jpg", "x/b.jpg", "x/c.jpg"], "name,kind,target\na,benign,0\nb,malignant,1\nc,benign,0\n", {"benign": 2, "malignant": 1}),
    ],
)  # fmt: skip
def test_numbers_in_a_list_go_before_folders_that_do_not_name_them(tmp_path, paths, rows, expected):
    for number, path in enumerate(paths):
        put(tmp_path / path, photo(number))
    put(tmp_path / "labels.csv", rows.encode())
    plan = scan([tmp_path])
    assert {label: len(found) for label, found in labels(plan).items()} == expected
    assert any("a number for a label" in note for note in plan.notes) == set(expected).issubset(
        {"0", "1", "17", "18", "19"}
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ages.csv", "file,age\ncat/0.jpg,1\ncat/1.jpg,2\ncat/2.jpg,1\ndog/3.jpg,2\ndog/4.jpg,1\ndog/5.jpg,2\n"),
        ("counts.txt", table_of_cats_and_dogs("", "{path} {word}")),
        ("remarks.csv", table_of_cats_and_dogs("datei;alter;bemerkung", "{path};{number};20 °C")),
        ("who.csv", table_of_cats_and_dogs("file,photographer", "{path},{word}", ("ben", "anna"))),
        ("results.csv", table_of_cats_and_dogs("file,prediction,score", "{path},{word},0.{number}5", ("dog", "cat"))),
        ("sizes.json", json.dumps({path: 1000 + number for number, path in enumerate(CAT_AND_DOG)})),
        ("boxes.json", json.dumps({path: [40, 30] for path in CAT_AND_DOG})),
        ("points.csv", table_of_cats_and_dogs("file,X,Y", "{path},{number},{word}")),
        ("crops.csv", table_of_cats_and_dogs("file,x,y,width,height", "{path},{number},{word},9,9")),
        ("eyes.json", records_of_cats_and_dogs('"eyes": [{{"x": 4, "y": {word}}}]')),
        ("place.json", records_of_cats_and_dogs('"place": {{"x": {number}, "y": {word}}}')),
        ("places.csv", "folder,x,y\ncat,40,30\ndog,50,20\n"),
        ("exported.csv", table_of_cats_and_dogs("file,exported,new,skipped", "{path},1,{word},0")),
        (
            "issues.csv",
            table_of_cats_and_dogs("file,is_dark_issue,is_blurry_issue", "{path},{word}", ("False,True", "True,False")),
        ),
        ("labels.csv", "file,label\ncat/0.jpg,0\ncat/1.jpg,0\ncat/2.jpg,0\ndog/3.jpg,1\ndog/4.jpg,1\ndog/5.jpg,1\n"),
    ],
)
def test_what_nothing_calls_labels_gives_way_to_folders(tmp_path, name, text):
    for number, path in enumerate(CAT_AND_DOG):
        put(tmp_path / path, photo(number))
    put(tmp_path / name, text.encode())
    found = labels(scan([tmp_path]))
    assert found == {"cat": ["0.jpg", "1.jpg", "2.jpg"], "dog": ["3.jpg", "4.jpg", "5.jpg"]}


@pytest.mark.parametrize("folders", [("patient01", "patient02"), ("train", "test")])
def test_columns_of_yes_and_no_go_before_folders_that_are_no_words(tmp_path, folders):
    for number, folder in enumerate(folders):
        put(tmp_path / folder / f"{number}.jpg", photo(number))
    put(tmp_path / "l.csv", f"path,edema,fracture\n{folders[0]}/0.jpg,1,1\n{folders[1]}/1.jpg,0,1\n".encode())
    assert {label: len(names) for label, names in labels(scan([tmp_path])).items()} == {"edema": 1, "fracture": 2}


SCORED = {
    "file,label,score": "{path},{label},0.{number}5\n",
    "image,classifier,label,confidence,confidence_value,sentence,error": "{path},pets,{label},possible,0.{number}5,A {label}.,\n",
}


@pytest.mark.parametrize("header", SCORED)
@pytest.mark.parametrize(
    ("answers", "expected"), [(("Cat", "dog"), {"cat": 3, "dog": 3}), (("wild", "tame"), {"wild": 3, "tame": 3})]
)
def test_labels_with_scores_give_way_to_folders_that_have_their_names(tmp_path, header, answers, expected):
    for number, path in enumerate(CAT_AND_DOG):
        put(tmp_path / path, photo(number))
    rows = [
        SCORED[header].format(path=path, label=answers[number % 2], number=number)
        for number, path in enumerate(CAT_AND_DOG)
    ]
    put(tmp_path / "answers.csv", f"{header}\n{''.join(rows)}".encode())
    plan = scan([tmp_path])
    found = labels(plan)
    assert {label: len(names) for label, names in found.items()} == expected
    if "cat" in expected:
        assert found["cat"] == ["0.jpg", "1.jpg", "2.jpg"]
        assert any("with a score as a classifier does: the folders count" in note for note in plan.notes)
    put(tmp_path / "labels.csv", ("file,label\n" + "".join(f"{path},by hand\n" for path in CAT_AND_DOG)).encode())
    assert set(labels(scan([tmp_path]))) == {"by_hand"}


def test_numbers_count_where_all_photos_lie_in_one_folder(tmp_path):
    for number in range(4):
        put(tmp_path / f"cropped/{number}.jpg", photo(number))
    put(tmp_path / "x.json", json.dumps({f"cropped/{number}.jpg": number % 2 for number in range(4)}).encode())
    assert labels(scan([tmp_path])) == {"0": ["0.jpg", "2.jpg"], "1": ["1.jpg", "3.jpg"]}


def test_numbers_of_photos_are_no_names_of_classes(tmp_path):
    ids = [
        "8952ed06-1b59-3f29-18c3-a7a8791f0000",
        "8952ed06-1b59-3f29-18c3-a7a879208697",
        "0000139e-21dc-4d0c-bfe1-4cae3c85c829",
    ]
    for number, (one, folder) in enumerate(zip(ids, ("0817", "0817", "0900"), strict=True)):
        put(tmp_path / "birds" / folder / f"{one.replace('-', '')}.jpg", photo(number))
    put(tmp_path / "classes.txt", b"817 Oak Titmouse\n900 Blue Jay\n")
    put(
        tmp_path / "image_class_labels.txt", "".join(f"{one} {900 if one[0] == '0' else 817}\n" for one in ids).encode()
    )
    assert {label: len(found) for label, found in labels(scan([tmp_path])).items()} == {
        "oak_titmouse": 2,
        "blue_jay": 1,
    }


def test_names_are_counted_as_all_lists_count_together(tmp_path):
    for number in range(6):
        put(tmp_path / f"images/0000{number}.jpg", photo(number))
    put(tmp_path / "train.txt", b"00000.jpg 0\n00001.jpg 0\n00002.jpg 1\n")
    put(tmp_path / "val.txt", b"00003.jpg 0\n00004.jpg 2\n")
    put(tmp_path / "test.txt", b"00005.jpg 1\n")
    put(tmp_path / "classes.txt", b"1    rice leaf roller   \n2    rice leaf caterpillar\n3    paddy stem maggot\n")
    plan = scan([tmp_path])
    assert {label: len(found) for label, found in labels(plan).items()} == {
        "rice_leaf_roller": 3, "rice_leaf_caterpillar": 2, "paddy_stem_maggot": 1,
    }  # fmt: skip
    assert any("count from 1, and the lists from 0: “0” is “rice leaf roller”" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["1 girl with a hat", "1 girl", "2 dogs on the grass"], {"girl": 2, "dogs": 1}),
        (["a photo of 1", "a photo of 2, a1", "1, 2"], {"girl": 2, "dogs": 1}),
        (["cat", "cat", "dog"], {"girl": 2, "dogs": 1}),
    ],
)
def test_a_text_called_as_a_photo_is_no_list_of_others(tmp_path, captions, expected):
    for number, text in enumerate(captions, 1):
        folder = tmp_path / ("girl" if number < 3 else "dogs")
        put(folder / f"{number}.jpg", photo(number))
        put(folder / f"{number}.txt", text.encode())
    assert {label: len(found) for label, found in labels(scan([tmp_path])).items()} == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["cat\n", "cat", "dog"], {"cat": 2, "dog": 1}),
        (["cat, indoors", "cat", "dog"], {"pets": 3}),
        (["EXIT", "STOP", "TAXI"], {"pets": 3}),
    ],
)
def test_a_word_beside_each_photo_is_its_label_where_it_recurs(tmp_path, texts, expected):
    for number, text in enumerate(texts):
        put(tmp_path / f"pets/p{number}.jpg", photo(number))
        put(tmp_path / f"pets/p{number}.txt", text.encode())
    plan = scan([tmp_path / "pets"])
    assert {label: len(found) for label, found in labels(plan).items()} == expected
    assert any("are the labels of the photos of these names" in note for note in plan.notes) == ("cat" in expected)


@pytest.mark.parametrize(
    ("names", "expected"), [("T-Shirt\nShirt\nChiffon\n", {"t_shirt": 2, "chiffon": 1}), ("", {"0": 2, "2": 1})]
)
def test_a_number_in_a_list_goes_before_a_folder_that_is_a_number(tmp_path, names, expected):
    paths = ["images/0/00/1,2.jpg", "images/0/01/3,4.jpg", "images/1/00/5,6.jpg"]
    for number, path in enumerate(paths):
        put(tmp_path / path, photo(number))
    put(
        tmp_path / "clean_label_kv.txt", "".join(f"{path} {n}\n" for path, n in zip(paths, "020", strict=True)).encode()
    )
    put(tmp_path / "category_names_eng.txt", names.encode())
    assert {label: len(found) for label, found in labels(scan([tmp_path])).items()} == expected


@pytest.mark.parametrize(
    "places",
    [
        ["food/p0.jpg", "food/p1.jpg", "food/p2.jpg", "food/p3.jpg"],
        ["food/cat/p0.jpg", "food/p1.jpg", "food/cat/p2.jpg", "food/dog/p3.jpg"],
    ],
)
def test_a_photo_whose_label_is_empty_in_a_list_has_none_by_its_folder(tmp_path, places):
    for number, place in enumerate(places):
        put(tmp_path / place, photo(number))
    put(tmp_path / "food/labels.csv", b"file_name,label\np0.jpg,cat\np1.jpg,\np2.jpg,cat\np3.jpg,dog\n")
    put(tmp_path / "birds/bird/b0.jpg", photo(8))
    put(tmp_path / "birds/dog/b1.jpg", photo(9))
    put(tmp_path / "birds/labels.csv", b"file_name,label\nbird/b0.jpg,bird\ndog/b1.jpg,dog\n")
    plan = scan([tmp_path])
    assert labels(plan) == {
        "cat": ["p0.jpg", "p2.jpg"], "": ["p1.jpg"], "dog": ["b1.jpg", "p3.jpg"], "bird": ["b0.jpg"],
    }  # fmt: skip
    assert [note for note in plan.notes if "holds folders of its own" in note] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "p0.jpg,cat\np1.jpg,\np2.jpg,dog\n"),
        ("l.csv", "image_id,class_id,class_name\np0,1,cat\np1,,\np2,2,dog\n"),
        (
            "metadata.jsonl",
            "".join(
                f'{{"file_name": "p{n}.jpg", "label": {label}}}\n' for n, label in enumerate(('"cat"', "null", '"dog"'))
            ),
        ),
        (
            "l.json",
            json.dumps([{"file": "p0.jpg", "label": "cat"}, {"file": "p1.jpg"}, {"file": "p2.jpg", "label": "dog"}]),
        ),
    ],
)
def test_an_empty_label_in_any_form_of_list_is_none(tmp_path, name, text):
    for number in range(3):
        put(tmp_path / f"food/p{number}.jpg", photo(number))
    put(tmp_path / "food" / name, text.encode())
    assert labels(scan([tmp_path])) == {"cat": ["p0.jpg"], "": ["p1.jpg"], "dog": ["p2.jpg"]}


def test_an_index_of_classes_is_no_list_of_the_photos_with_its_numbers(tmp_path):
    for number, place in enumerate(("n01440764/0", "n01440764/1", "n01443537/0", "n01443537/1")):
        put(tmp_path / f"train/{place}.JPEG", photo(number))
    put(tmp_path / "synset_words.txt", b"n01440764 tench, Tinca\nn01443537 goldfish, Carassius\n")
    put(tmp_path / "imagenet_class_index.json", b'{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}')
    plan = scan([tmp_path])
    assert labels(plan) == {"tench": ["0.JPEG", "1.JPEG"], "goldfish": ["0.JPEG", "1.JPEG"]}
    assert not any("gives several labels" in note for note in plan.notes)


def test_a_label_that_was_emptied_in_a_list_is_not_that_of_the_folder(tmp_path):
    for number, place in enumerate(["cat/p0.jpg", "cat/p1.jpg", "dog/p2.jpg"]):
        put(tmp_path / place, photo(number))
    put(tmp_path / "labels.csv", b"file_name,label\ncat/p0.jpg,cat\ncat/p1.jpg,\ndog/p2.jpg,dog\n")
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["p0.jpg"], "": ["p1.jpg"], "dog": ["p2.jpg"]}
    assert "1 photo in “cat” has no label in the list, which counts." in plan.notes


@pytest.mark.parametrize(
    ("places", "names", "expected"),
    [
        (["photos", "photos", "photos"], ["cat.txt", "dog.txt"], {"cat": 2, "dog": 1}),
        (["set", "set", "set"], ["cat_list.txt", "dog_list.txt"], {"cat": 2, "dog": 1}),
        (["red", "red", "blue"], ["cat.txt", "dog.txt"], {"red": 2, "blue": 1}),
        (["set", "set", "set"], ["list.txt", "names.txt"], {"set": 3}),
    ],
)
def test_lists_of_nothing_but_photos_are_called_after_their_label(tmp_path, places, names, expected):
    paths = [f"{place}/p{number}.jpg" for number, place in enumerate(places)]
    for number, path in enumerate(paths):
        put(tmp_path / "root" / path, photo(number))
    put(tmp_path / "root" / names[0], "\n".join(paths[:2]).encode())
    put(tmp_path / "root" / names[1], paths[2].encode())
    plan = scan([tmp_path / "root"])
    assert {label: len(found) for label, found in labels(plan).items()} == expected
    assert any("are lists of nothing but photos" in note for note in plan.notes) == ("cat" in expected)


@pytest.mark.parametrize(
    "text",
    [
        "cat/p0.jpg\n1\n449 330 122 149 0 0 \ndog/p1.jpg\n2\n361 98 263 339 0 0 \n1 2 3 4 0 0 \n",
        "category\timage\nstring\tstring\nclass\tmeta\ncat\tcat/p0.jpg\ndog\tdog/p1.jpg\n",
        "\ufefffilename,label\ncat/p0.jpg,cat\n\ufefffilename,label\ndog/p1.jpg,dog\n",
    ],
)
def test_lines_that_name_no_photo_are_no_photos_that_are_missing(tmp_path, text):
    put(tmp_path / "cat/p0.jpg", photo(0))
    put(tmp_path / "dog/p1.jpg", photo(1))
    put(tmp_path / "list.txt", text.encode())
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["p0.jpg"], "dog": ["p1.jpg"]}
    assert plan.notes == []
    put(tmp_path / "train.txt", text.replace("dog/p1", "dog/p2").encode())
    assert "1 photo in “train.txt” is not there: “dog/p2.jpg”." in scan([tmp_path]).notes


def test_lists_of_several_splits_contradict_each_other_and_give_none(tmp_path):
    paths = ["cat/p0.jpg", "cat/p1.jpg", "dog/p2.jpg"]
    for number, path in enumerate(paths):
        put(tmp_path / "images" / path, photo(number))
    for number in range(3):
        put(tmp_path / f"splits/test{number}.txt", f"{paths[number]}\n".encode())
        rest = [path for path in paths if path != paths[number]]
        put(tmp_path / f"splits/train{number}.txt", "\n".join(rest).encode())
    put(tmp_path / "splits/joint.txt", b"cat/p0.jpg cat grid\ncat/p1.jpg cat\ndog/p2.jpg dog\n")
    plan = scan([tmp_path])
    assert {label: len(found) for label, found in labels(plan).items()} == {"cat": 2, "grid": 1, "dog": 1}
    assert {item.split for item in plan.items} == {""}
    assert any("and so with 2 more photos: the lists contradict each other" in note for note in plan.notes)
    assert any("gives several labels to “cat/p0.jpg” (cat, grid)" in note for note in plan.notes)


def test_a_photo_in_two_parts_has_none_and_the_others_keep_theirs(tmp_path):
    for number in range(5):
        put(tmp_path / f"images/p{number}.jpg", photo(number))
    put(tmp_path / "train.txt", b"p0.jpg\np1.jpg\np2.jpg\n")
    put(tmp_path / "val.txt", b"p2.jpg\np3.jpg\np4.jpg\n")
    put(tmp_path / "trainval.txt", b"p0.jpg\np1.jpg\np2.jpg\np3.jpg\np4.jpg\n")
    plan = scan([tmp_path])
    assert {item.name: item.split for item in plan.items} == {
        "p0.jpg": "train", "p1.jpg": "train", "p2.jpg": "", "p3.jpg": "validation", "p4.jpg": "validation",
    }  # fmt: skip
    assert "“train.txt” puts “p2.jpg” into train, “val.txt” into validation: no split is taken." in plan.notes


def test_albums_that_are_called_by_numbers_give_way_to_folders_with_their_names_too(tmp_path):
    for number, path in enumerate(CAT_AND_DOG):
        put(tmp_path / path, photo(number))
    put(tmp_path / "classes.txt", b"spring\nsummer\n")
    put(tmp_path / "x.json", json.dumps({"0": CAT_AND_DOG[::2], "1": CAT_AND_DOG[1::2]}).encode())
    assert labels(scan([tmp_path])).keys() == {"cat", "dog"}


def test_one_photo_in_another_folder_leaves_the_numbers_of_a_list_their_names(tmp_path):
    for number, path in enumerate(CAT_AND_DOG):
        put(tmp_path / path, photo(number))
    rows = "".join(f"{path},{int(number > 1)}\n" for number, path in enumerate(CAT_AND_DOG))
    put(tmp_path / "labels.csv", f"file,label\n{rows}".encode())
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["0.jpg", "1.jpg"], "dog": ["2.jpg", "3.jpg", "4.jpg", "5.jpg"]}
    assert any("in the folder of another label" in note for note in plan.notes)


def test_what_is_not_understood_is_said_with_its_line(tmp_path):
    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "a.jsonl", b'{"file_name": "p0.jpg", "label": "cat"}\n{"file_name": \n')
    plan = scan([tmp_path / "a.jsonl"])
    assert labels(plan) == {"cat": ["p0.jpg"]}
    assert "“a.jsonl”: line 2" in plan.notes[0]
    plan = scan([put(tmp_path / "b.json", b'[{"file_name": "p0.jpg"},\n{"x" 1}]')])
    assert "“b.json”" in plan.notes[0] and "line 2" in plan.notes[0]
    plan = scan([put(tmp_path / "c.csv", b"file_name,label\np0.jpg,cat\n,dog\n")])
    assert "“c.csv”: line 3 names no photo" in plan.notes[0]
    plan = scan([put(tmp_path / "d.xlsx", b"PK\x03\x04...")])
    assert "save it as CSV" in plan.notes[0]
    put(tmp_path / "e/labels.csv", b"file_name,label\np0.jpg,cat\ngone.jpg,dog\n")
    put(tmp_path / "e/p0.jpg", photo(0))
    plan = scan([tmp_path / "e"])
    assert "1 photo in “labels.csv” is not there: “gone.jpg”." in plan.notes
    assert not plan.complete


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.json", "[{'image': 'cat/a.jpg', 'label': 'cat'}]", "“labels.json” is not understood: it is no JSON, line 1: "),
        ("cat/a.json", '{"shape": {"label": "cat"}}', "“a.json” is not understood: it names no photo"),
        ("detector.json", json.dumps({"images": [{"file": "cat/a.jpg", "detections": [{"category": "1", "conf": 0.9}]}], "detection_categories": {"1": "animal"}}), "“detector.json” gives photos the answers of a detector for labels (“animal”): those of the folders count."),
        ("labels.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "“labels.csv” is a pointer of Git LFS in place of the list: run “git lfs pull” first."),
        ("panoptic.json", json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "segments_info": [{"category_id": 1}]}]}), "“panoptic.json” has labels in a form that is not read: no photo gets one of them."),
        ("boxes/a.txt", "684,8,273,116,0,4,0,0\n", "“a.txt” is not understood: it is called as a photo, and has numbers."),
        ("boxes/a.txt", "gsd:0.15\n1.5 2 3 4 5 6 7 8 plane 0\n", "“a.txt” is called as a photo, and is not read: labels are read from a CSV"),
        ("pets.toml", '[[pets]]\nfile = "a.jpg"\n[[pets]]\nfile = "b.jpg"\n', "“pets.toml” names photos, and is not read: labels are read from a CSV"),
        ("annotations.csv", "file,label\ngone.jpg,cat\n", "No photo in “annotations.csv” is there: “gone.jpg”. Its labels are not used."),
    ],
)  # fmt: skip
def test_a_file_of_labels_that_is_not_used_is_named(tmp_path, name, text, said):
    put(tmp_path / "cat/a.jpg", photo(1))
    put(tmp_path / "dog/b.jpg", photo(2))
    put(tmp_path / name, text.encode())
    plan = scan([tmp_path])
    assert labels(plan) == {"cat": ["a.jpg"], "dog": ["b.jpg"]}
    assert any(note.startswith(said) for note in plan.notes), plan.notes


def test_a_program_and_a_text_beside_a_labeled_photo_are_not_said_to_be_unread(tmp_path):
    for number, (path, label) in enumerate(ROWS):
        put(tmp_path / label / path, photo(number))
        put(tmp_path / label / f"{path[:2]}.log", b"taken at noon")
    put(tmp_path / "train.jpg", photo(5))
    put(tmp_path / "train.py", b"open('cat/p0.jpg'), open('cat/p2.jpg')\n" + b"# on\n" * 99)
    put(tmp_path / "labels.csv", table("file,label", "{path},{label}").encode())
    assert not [note for note in scan([tmp_path]).notes if "not read" in note]
    (tmp_path / "labels.csv").unlink()
    assert [
        note
        for note in scan([tmp_path]).notes
        if note.startswith("4 files are called as photos, and are not read (“p0.log”")
    ]


def test_addresses_in_a_list_stay_addresses(tmp_path):
    rows = b"url,label\nhttps://e.org/a.jpg?size=2,cat\ndata:image/png;base64,aaaa,dog\n"
    plan = scan([put(tmp_path / "l.csv", rows.replace(b"data:image/png;base64,aaaa", b'"data:image/png;base64,aaaa"'))])
    assert isinstance(plan.items[0].source, ImageUrl)
    assert [item.label for item in plan.items] == ["cat", "dog"]
    plan = scan([put(tmp_path / "s.csv", b"uri,label\ngs://bucket/away.jpg,cat\n")])
    assert "download it first" in plan.items[0].problem


ODD = [
    " a.jpg",
    "b .jpg",
    "c,d.jpg",
    'e"f.jpg',
    "g;h.jpg",
    "i\nj.jpg",
    "k\rl.jpg",
    "m\u2028n.jpg",
    "o\u0085p.jpg",
    "=q.jpg",
    "#r.jpg",
    "s%20t.jpg",
]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_whatever_stands_in_a_name_our_own_lists_come_back(tmp_path, form):
    import csv

    for number, name in enumerate(ODD):
        put(tmp_path / "hat" / name, photo(number))
    path = tmp_path / ("labels.csv" if form == "csv" else "metadata.jsonl")
    with path.open("w", encoding="utf-8", newline="" if form == "csv" else None) as file:
        if form == "csv":
            csv.writer(file).writerows(
                [("file_name", "label", "split"), *((f"hat/{name}", "C++ hats", "") for name in ODD)]
            )
        else:
            file.writelines(
                json.dumps({"file_name": f"hat/{name}", "label": "C++ hats"}, ensure_ascii=False) + "\n" for name in ODD
            )
    for dropped in (path, tmp_path):
        plan = scan([dropped])
        sources = [item.source.path.name for item in plan.items if isinstance(item.source, ImageFile)]
        assert sorted(sources) == sorted(ODD)
        assert {item.original_label for item in plan.items} == {"C++ hats"}
        assert plan.complete


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.sampled_from(["p0.jpg", "cat", "", "0", "[1", "https://e.org/a.jpg"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["images", "annotations", "categories", "classes", "labels", "data", "result", "value", "filename", "regions", "image", "label", "id",
                         "file_name", "imagePath", "shapes", "flags", "p0.jpg", "category_id", "image_id", "region_attributes", "file_attributes", "choices"]),
        inner, max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


def read_or_refuse(data: bytes, name: str) -> None:
    names = reader.class_names(data, name)
    assert all(isinstance(part, str) for pair in names.items() for part in pair)
    try:
        content = reader.read_list(data, name, lambda path: path in {"p0.jpg", "p0"}, names)
    except reader.InvalidList as error:
        assert re.fullmatch(rf"“{re.escape(name)}” .+\.", str(error)), "one sentence, in one line"
        return
    assert content.entries
    given = plain(decode(data))
    for entry in content.entries:
        assert isinstance(entry, ListEntry) and entry.path
        assert isinstance(entry.label, str)
        assert all(plain(part) in given for part in entry.label.split("."))  # dots join the names of nested columns
        assert entry.split in {"", "train", "validation", "test", "unlabeled", "labeled"}


def plain(text: str) -> str:
    """Text without quotes, escapes, space and case, and with yes and no as tables have them: a label is a part of it."""
    bare = re.sub(r"""["'\\\s\0]""", "", text).casefold()
    return bare.replace("true", "1").replace("false", "0")


@pytest.mark.parametrize("again", [["cat", "dog"], ["dog"]])
def test_an_image_that_a_list_of_objects_has_twice_is_named_with_all_its_classes(tmp_path, again):
    """COCO may have two entries for a file, and Label Studio two tasks, after another list gave it one class."""

    def tasks(*rows):
        results = [
            (path, [{"type": "choices", "value": {"choices": [name]}} for name in found]) for path, found in rows
        ]
        return json.dumps(
            [{"data": {"image": path}, "annotations": [{"result": one}]} for path, one in results]
        ).encode()

    put(tmp_path / "p0.jpg", photo(0))
    put(tmp_path / "p1.jpg", photo(1))
    put(tmp_path / "a.json", tasks(("p0.jpg", ["cat"]), ("p1.jpg", ["dog"])))
    put(tmp_path / "b.json", tasks(("p0.jpg", again), ("p0.jpg", ["cat", "dog"]), ("p0.jpg", ["dog"])))
    plan = scan([tmp_path])
    assert labels(plan) == {"": ["p0.jpg"], "dog": ["p1.jpg"]}
    assert any("p0.jpg" in note and "several classes" in note for note in plan.notes)


@settings(max_examples=400, deadline=None)
@given(JSON, st.sampled_from(["a.json", "a.jsonl", "a.manifest", "a.txt"]))
def test_whatever_json_holds_it_is_read_or_refused(value, name):
    read_or_refuse(json.dumps(value).encode(), name)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "p0.jpg",
                "cat",
                ",",
                ";",
                "\t",
                "\n",
                "\r",
                '"',
                " ",
                "#",
                "sep=;\n",
                "label",
                "path",
                "0",
                "1",
                "[",
                "{",
                "é",
                "\0",
                "x" * 50,
            ]
        ),
        max_size=40,
    )
    | st.binary(max_size=60),
    st.sampled_from(["a.csv", "a.tsv", "a.txt", "a.xml", "a.json", "a.yaml", "a.names", "a.pbtxt"]),
)
def test_whatever_a_text_holds_it_is_read_or_refused(text, name):
    read_or_refuse(text if isinstance(text, bytes) else "".join(text).encode(), name)

"""Names that lists give to their columns and fields, in any spelling, and the words for the parts of a split."""

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _unaccented(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", decomposed))


_PATHS: Final = _words(
    "filename file_path path filepath file image_path img_path image_file image_filename image_name img_name photo_path "
    "file_name filenames fname image img photo picture image_url img_url url src uri image_uri gcs_uri image_gcs_uri "
    "source_ref full_path fullpath abs_path rel_path relative_path local_path image_id img_id imageid photo_name "
    "picture_name photo_id file_id images link file_url photo_url media source_file source external_id externalid "
    "datei dateiname bild bilddatei pfad fichier nom_fichier chemin archivo nombre_archivo ruta imagen imagem arquivo id "
    "key name"
)
_LABEL_NAMES: Final = _words(
    "label_name class_name category_name classname labelname class_label label_class label_text label_str label_string "
    "display_name species_name breed_name class_str target_name tag_name text_label human_label common_name label_title"
)
_LABELS: Final = _words(
    "corrected_label clean_label true_label y_true gt_label gold_label actual_label manual_label "
    "label labels class category annotation annotations target ground_truth tag y choice choices species breed "
    "scientific_name "
    "groundtruth gt truth diagnosis diagnostic dx finding finding_labels variety classification classes categories "
    "category_label expression type kind sentiment emotion object objects object_name region_attributes file_attributes landmark "
    "disease expected answer prediction predicted classifications verdict product sort klasse etikett kategorie bezeichnung "
    "classe etiquette categorie clase etiqueta categoria art tags level grade quality"
)
_LABEL_IDS: Final = _words(
    "class_id label_id category_id target_id class_index label_index label_group class_idx label_idx class_number class_no "
    "classid labelid cls landmark_id species_id breed_id variety_id disease_id type_id kind_id taxon_id"
)
_SPLITS: Final = _words(
    "split set subset partition usage ml_use mluse phase data_split dataset_split part fold purpose mode dataset"
)
_FOLDERS: Final = _words(
    "folder dir directory subfolder subdir sub_folder folder_name folder_path root dirname base_dir relative_path rel_path"
)
_BOXES: Final = _words(
    "xmin ymin xmax ymax x_min y_min x_max y_max x1 y1 x2 y2 left top right bottom bbox bbox_x box roi_x1 x_center "
    "region_shape_attributes boxes"
)
_OTHERS: Final = _words(
    "date time datetime date_captured timestamp created_at created updated_at url coco_url flickr_url link caption text title "
    "description comment comments note notes author user username annotator owner license copyright source hash md5 sha256 sha1 "
    "pred_label y_pred auto_label "
    "size bytes width height format mode camera make model location city country address confidence score md5sum uuid guid email "
    "favorite favourite hidden deleted starred flagged checksum file_checksum import_date original_creation_date view_count "
    "attachments reactions content message messages sender sender_name from from_id actor actor_id media_metadata exif_data data "
    "file_type mime_type"
)
_ORIGINALS: Final = _words("original_filename original_file_name original_name")
_PARTS: Final = {
    _unaccented(word): part
    for word, part in {
        **dict.fromkeys(
            _words(
                "train training trainings trn trainset trainval learn learning entrenamiento apprentissage entrainement treino "
                "treinamento addestramento обучение обучающая обучающий тренировочная навчання навчальна навчальний "
                "treningowy treningowa treningowe treningowych uczacy trenovaci trening treningsdata traning traningsdata "
                "træning tanito egitim koulutus opetus antrenare latih pelatihan εκπαιδευση 训练 訓練 学習 학습 훈련"
            ),
            "train",
        ),
        **dict.fromkeys(
            _words(
                "val valid validation validate validierung validierungs dev development eval evaluation validacion validacao "
                "validazione convalida валидация валидационная проверочная валідація валідаційна walidacja walidacyjny "
                "walidacyjna walidacyjne walidacyjnych validacni validatie validering valideringsdata validointi validalas "
                "validalo validare validasi dogrulama επικυρωση 验证 驗證 検証 검증"
            ),
            "validation",
        ),
        **dict.fromkeys(
            _words(
                "test testing tests tst testset holdout heldout prueba pruebas teste testes prova тест тестовая тестовый "
                "тестова тестування testowy testowa testowe testowych testovaci testdata testi teszt testare uji pengujian "
                "测试 測試 テスト 테스트"
            ),
            "test",
        ),
        **dict.fromkeys(
            _words("pred predict prediction predictions unlabeled unlabelled unseen inference submission"), "unlabeled"
        ),
        **dict.fromkeys(_words("labeled labelled annotated"), "labeled"),
    }.items()
}
_JOINED: Final = re.compile(
    r"(?i)\b(?:trainings?|test|validierungs)(?=(?:daten|bilder|fotos|satz|menge|datensatz)(?:[\W\d_]|$))|"
    + "|".join(word for word in _PARTS if unicodedata.east_asian_width(word[0]) == "W")
)
"""Words for a part that are written together with the next one: in German, and in Chinese, Japanese and Korean."""
_FILLERS: Final = frozenset(
    _words(
        "set sets data dataset datasets images image imgs img photos photo pics pictures picture folder folders split splits "
        "files file samples sample seg the all full new final raw x jpg jpeg png aug augmented augmentation original orig "
        "resized cropped balanced mini small large subset dir ds v daten bilder fotos satz menge datensatz donnees datos "
        "imagenes dados imagens dati immagini выборка выборки набор данные вибірка дані "
        "zbior dane danych zdjecia obrazy sada obrazky snimky verisi veri seti kumesi goruntuler resimler kuvat aineisto "
        "billeder afbeeldingen beelden adatok kepek adathalmaz imagini gambar citra δεδομενα εικονες "
        "集 数据 数据集 图片 图像 用 データ セット データセット 画像"
    )
)
YES: Final = frozenset(
    _words(
        "true yes wahr ja vrai oui verdadero vero verdadeiro waar prawda истина да doğru sant sand sann tosi igaz pravda"
    )
)
NO: Final = frozenset(
    _words(
        "false no falsch nein faux non falso onwaar fałsz ложь нет yanlış yanliş falskt falsk usann epätosi hamis nepravda"
    )
)
"""Yes and no in the words of people and of spreadsheets in their languages."""
_DERIVED: Final = frozenset(
    _words(
        "aug augmented augmentation augmentations resized rescaled cropped backup bak copy copies kopie sicherung copie copia "
        "kopia копия コピー 副本 복사본"
    )
)
"""Words for what was made of other photos."""
_FORMS: Final = frozenset(
    _words(
        "original originals orig raw resized cropped augmented edited color colour rgb grayscale greyscale gray grey bw "
        "segmented binary normalized enhanced filtered denoised thermal infrared depth edges sketch"
    )
)
"""Words for the forms that a photo is kept in."""
_VIEWS: Final = frozenset(
    _words(
        "front back rear left right top bottom side above below inside outside indoor indoors outdoor outdoors day night "
        "morning evening spring summer autumn winter near far closeup small medium large ap pa lateral axial coronal sagittal"
    )
)
"""Words for how a photo was taken."""
_DELETED: Final = frozenset(
    _words(
        "bin trash papierkorb corbeille papelera lixeira lixo cestino prullenbak papperskorgen papirkurv kosz корзина "
        "ゴミ箱 回收站 휴지통"
    )
)
"""Names that an album of deleted photos has."""
_CONTAINERS: Final = frozenset(
    _words(
        "takeout googlephotos googlefotos googlefoto "
        "images image imgs img jpegimages jpegs jpgs pngs photos photo foto pictures pics data dataset datasets clsloc rawimages "
        "imagefiles imagedata allimages imageset imagesets files samples inputs rgb jpg jpeg png bmp bilder fotos imagenes "
        "imagens immagini 图片 图像 画像 写真 изображения"
    )
)


_LONGEST_HEADER: Final = 200


def normal(header: str) -> str:
    """Return a column's name without case, spaces and signs."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", header).casefold())


def _ranks(names: tuple[str, ...]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for rank, name in enumerate(names):
        ranks.setdefault(normal(name), rank)
    return ranks


LABEL_ROLES: Final = ("label_name", "label", "label_id")
_ROLES: Final = {
    role: _ranks(names)
    for role, names in {
        "path": _PATHS,
        "label_name": _LABEL_NAMES,
        "label": _LABELS,
        "label_id": _LABEL_IDS,
        "split": _SPLITS,
        "folder": _FOLDERS,
        "box": _BOXES,
        "original": _ORIGINALS,
        "other": _OTHERS,
    }.items()
}


def rank(header: str, role: str) -> int | None:
    """Return how usual a name is for a role, 0 the most; None where it is not. The last part of a dotted name counts."""
    if len(header) > _LONGEST_HEADER:
        return None
    ranks = _ROLES[role]
    for name in (header, header.rpartition(".")[2]):
        if (found := ranks.get(normal(name))) is not None:
            return found
    return None


def has_label_role(cell: str) -> bool:
    """Return True for a usual name of a column or field of labels, of their names, or of their numbers."""
    return any(rank(cell, role) is not None for role in LABEL_ROLES)


def without_zeros(name: str) -> str:
    """Return a number without the zeros in front of it; any other name as it is."""
    return name.lstrip("0") or "0" if name.isdecimal() else name


def is_label_header(cell: str) -> bool:
    """Return True for the name of a column or field that holds the label of something, rather than its kind or quality."""
    found, kind = rank(cell, "label"), rank("type", "label")
    return rank(cell, "label_name") is not None or (found is not None and kind is not None and found < kind)


def is_path_header(cell: str) -> bool:
    """Return True for a usual name of the column of paths."""
    found = rank(cell, "path")
    return found is not None and normal(cell) not in {"id", "key", "name", "source", "media", "link"}


def is_known_header(cell: str) -> bool:
    """Return True for a usual name of a column of paths, labels or splits."""
    return has_label_role(cell) or rank(cell, "path") is not None or rank(cell, "split") is not None


@lru_cache(2**14)
def split_words(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the part of a split in a folder's name ("" for none) and the remaining words of the name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", unicodedata.normalize("NFC", name))
    spaced = _JOINED.sub(r" \g<0> ", spaced)
    words = [word for word in re.split(r"[\W\d_]+", spaced.casefold()) if word]
    if "".join(words) in {"trainset", "testset", "valset", "trainvaltest"}:
        words = ["".join(words).removesuffix("set"), "set"]
    if words in (["no", "label"], ["no", "labels"], ["not", "labeled"], ["not", "labelled"]):
        return "unlabeled", ()
    parts = [_PARTS.get(_unaccented(word), "") for word in words]
    part = next(filter(None, parts), "")
    if not part and re.fullmatch(r"(?:fold|cv|part|partition)[ _-]*\d+|\d+[ _-]*fold", name.casefold()):
        return name.casefold(), ()
    rest = (word for word, own in zip(words, parts, strict=True) if not own and _unaccented(word) not in _FILLERS)
    return part, tuple(rest)


def words_of_list(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the part of a set in the name of a list ("" for none), and its other words: trainLabels.csv, test_list.txt."""
    return split_words(name.partition(".")[0])


def without_split(name: str) -> str:
    """Return a folder's name without the word for a part of a split: `train_cat_1` → `cat_1`."""
    kept = "_".join(word for word in re.split(r"[\s_.-]+", name) if word and not split_of(word))
    return kept if kept != name else " ".join(split_words(name)[1])  # trainCat, 训练猫


def named_value(name: str) -> str:
    """Return the label of a folder called `label=cat`, as programs for tables write them; any other name as it is."""
    key, equals, value = name.partition("=")
    known = equals and value and has_label_role(key)
    return value if known else name


def split_of(name: str) -> str:
    """Return the part of a split that a name means by itself: train, validation, test, unlabeled; "" for none."""
    part, rest = split_words(name)
    return part if part and not rest else ""


def is_evaluation(name: str) -> bool:
    """Return True for the name of a folder for evaluation, which is the test where there is another one for validation."""
    return not {"eval", "evaluation"}.isdisjoint(re.split(r"[\W\d_]+", name.casefold()))


def is_derived(name: str) -> bool:
    """Return True for the name of a folder of photos that were made of others: augmented, pets - Copy."""
    return not _DERIVED.isdisjoint(re.split(r"[\W\d_]+", name.casefold()))


def is_form(name: str) -> bool:
    """Return True for the name of a folder of one form of photos: grayscale, raw images."""
    words = {word for word in re.split(r"[\W\d_]+", name.casefold()) if word} - _CONTAINERS
    return bool(words) and words <= _FORMS


def is_view(name: str) -> bool:
    """Return True for the name of a folder of photos that were taken or kept in one way: left, outdoor, grayscale."""
    return normal(name) in _VIEWS or is_form(name)


def names_year(name: str) -> bool:
    """Return True for the name of a folder of the photos of a year: Photos from 2021."""
    *words, last = re.split(r"[\W_]+", name.strip())
    return 0 < len(words) < 4 and re.fullmatch(r"(?:19|20)\d\d", last) is not None and any(map(is_container, words))


def is_deleted(name: str) -> bool:
    """Return True for the name of an album of deleted photos."""
    return normal(name) in _DELETED


def is_container(name: str) -> bool:
    """Return True for the name of a folder that only holds images and gives no label."""
    return normal(name) in _CONTAINERS


def are_read_as_labels(names: Collection[str]) -> bool:
    """Return whether folders of these names are labels to an import that finds no list beside them.

    A name with a word for a part of a set may be taken for that part, one of a container or an only number for none.
    """
    if len(names) < 2:
        return bool(names) and all(re.fullmatch(r"\D+", name) and _reads_as_label(name) for name in names)
    return all(map(_reads_as_label, names))


def _reads_as_label(name: str) -> bool:
    return not split_words(name)[0] and not any(map(is_container, (name, *re.split(r"[\W_]+", name))))

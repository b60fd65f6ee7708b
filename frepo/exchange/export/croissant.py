"""Croissant 1.0 (mlcommons.org/croissant/1.0): a description of a data set that programs read, in JSON-LD."""

from typing import Any

from frepo.exchange.export.exported import Exported
from frepo.exchange.export.licence import source_of
from frepo.exchange.export.names import label_names
from frepo.spec import method_tables

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
            *("repeated", "replace", "separator", "source", "subField", "transform"),
        )
    },
}
"""The one that the specification asks for."""
FILE, RECORDS, CLASSES = "parquet", "train", "classes"


def croissant(exported: Exported, path: str, size: int, sha256: str) -> dict[str, Any]:
    """Return the description of a Parquet file at `path`, of `size` bytes and with that digest, beside the description.

    Its columns are `image`, `label`, `soft_label` and `inputs`. Whoever publishes it adds `url`, `creator` and
    `datePublished`, which nobody knows before.
    """
    run, dataset = exported.provenance["run_id"], exported.provenance["spec"]["dataset"]["name"]
    distill = exported.provenance["spec"]["distill"]
    source, method = source_of(dataset), method_tables()[distill["method"]]
    citations = [text for text in (method.citation, source.citation) if text]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": run,
        "description": f"{len(exported.images)} distilled images of {dataset}, made by frepo with the method "
        f"{distill['method']}. README.md says how to use them.",
        "license": source.terms,
        "version": "1.0.0",
        "isLiveDataset": False,
        "keywords": ["dataset distillation", "image classification", dataset],
        **({"citeAs": "; ".join(citations)} if citations else {}),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": FILE,
                "name": path.rpartition("/")[2],
                "contentUrl": path,
                "contentSize": f"{size} B",
                "encodingFormat": "application/x-parquet",
                "sha256": sha256,
            }
        ],
        "recordSet": [_classes(exported), _records(exported)],
    }


def _classes(exported: Exported) -> dict[str, Any]:
    label, name = f"{CLASSES}/label", f"{CLASSES}/name"
    names = label_names(exported.class_names)
    return {
        "@type": "cr:RecordSet",
        "@id": CLASSES,
        "name": CLASSES,
        "description": "Names of the classes.",
        "key": {"@id": label},
        "field": [
            {"@type": "cr:Field", "@id": label, "name": "label", "dataType": "sc:Integer"},
            {"@type": "cr:Field", "@id": name, "name": "name", "dataType": "sc:Text"},
        ],
        "data": [{label: number, name: text} for number, text in enumerate(names)],
    }


def _records(exported: Exported) -> dict[str, Any]:
    _, height, width, channels = exported.images.shape
    count = len(exported.class_names)
    numbers: dict[str, Any] = {"dataType": "sc:Float", "repeated": True}
    return {
        "@type": "cr:RecordSet",
        "@id": RECORDS,
        "name": RECORDS,
        "description": "The distilled images.",
        "field": [
            _field("image", "The image as an 8-bit PNG, to look at.", dataType="sc:ImageObject", path="bytes"),
            _field(
                "label",
                "The class at which the soft label is largest.",
                dataType="sc:Integer",
                references={"field": {"@id": f"{CLASSES}/label"}},
            ),
            _field("soft_label", f"The label as it was learned, {count} numbers, centred.", **numbers),
            _field(
                "inputs",
                f"The network input as it was learned: {height} rows of {width} pixels of {channels} channels.",
                **numbers,
            ),
        ],
    }


def _field(name: str, description: str, path: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a field that a column gives, or the part of the column at `path`."""
    source: dict[str, Any] = {"fileObject": {"@id": FILE}, "extract": {"column": name}}
    if path:
        source["transform"] = {"jsonPath": path}
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{name}",
        "name": name,
        "description": description,
        **more,
        "source": source,
    }

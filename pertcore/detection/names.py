"""Classes of COCO's 80 and of PASCAL VOC's 20, and which is which."""

from __future__ import annotations

from pertcore.errors import InputError

COCO_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
    "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,"
    "fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,"
    "cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush"
)
COCO = tuple(COCO_NAMES.split(","))

# Names of VOC that COCO spells otherwise.
OTHERWISE = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def coco_class(name: str) -> int:
    """COCO's number of a class named by COCO or VOC; InputError for another name."""
    known = OTHERWISE.get(name, name)
    if known not in COCO:
        raise InputError(f"class {name!r}: neither COCO nor PASCAL VOC has it")
    return COCO.index(known)

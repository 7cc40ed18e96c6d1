"""ultralytics' detectors with random weights, named in files as `tests.shared.yolo:function`."""

import os

os.environ["YOLO_OFFLINE"] = "1"


def _made(name):
    from ultralytics import YOLO

    return YOLO(name, verbose=False).model


def v8n():
    return _made("yolov8n.yaml")


def v8n_seg():
    return _made("yolov8n-seg.yaml")


def v11n():
    return _made("yolo11n.yaml")

"""The names of `keras.layers` and `keras.activations` without a row, each with the reason."""

IMAGES = "works on images for training, and is no part of a model of sequences"
STRINGS = (
    "takes strings, which no `.tflite` file of numbers has; kgated cuts it off a model's start"
)
OTHER_FRAMEWORK = "wraps code of another framework, which has no graph of Keras layers"
BASE = "a base class; its subclasses have rows"
NO_LAYER = "describes an input, and computes nothing"

LAYERS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix"),
            *("Equalization", "MaxNumBoundingBoxes", "MixUp", "Pipeline", "RandAugment"),
            *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter"),
            *("RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing"),
            *("RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue"),
            *("RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation"),
            *("RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation"),
            *("RandomZoom", "Solarization"),
        ),
        IMAGES,
    ),
    **dict.fromkeys(("StringLookup", "TextVectorization"), STRINGS),
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"), OTHER_FRAMEWORK),
    **dict.fromkeys(("Layer", "Wrapper"), BASE),
    **dict.fromkeys(("InputLayer", "InputSpec"), NO_LAYER),
}
ACTIVATIONS: dict[str, str] = dict.fromkeys(
    ("deserialize", "get", "serialize"), "no activation, but a function about them"
)

"""TransRA inside PyTorch-BigGraph: operators, embedder, training, evaluation and export. Knows nothing of the logs."""

import warnings

# torchbiggraph 1.0.0 imports pkg_resources, which setuptools announces to remove (hence our setuptools<81).
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
warnings.filterwarnings("ignore", message="TypedStorage is deprecated")

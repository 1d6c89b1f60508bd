"""Neural networks that train where your arrays live: NumPy on the CPU, CuPy on CUDA GPUs."""

from . import _command as _command
from ._version import __version__ as __version__
from .analysis.cross_validation import CrossValidation as CrossValidation
from .analysis.cross_validation import cross_validate as cross_validate
from .analysis.diagnosis import Diagnosis as Diagnosis
from .analysis.diagnosis import diagnose as diagnose
from .analysis.gradient_check import GradientCheck as GradientCheck
from .analysis.gradient_check import check_gradients as check_gradients
from .analysis.gradient_noise import critical_batch_size as critical_batch_size
from .analysis.noise_result import GradientNoise as GradientNoise
from .analysis.profile_result import Profile as Profile
from .analysis.profiling import profile as profile
from .analysis.propagation import activation_scales as activation_scales
from .analysis.propagation import gradient_scales as gradient_scales
from .analysis.sweeps import L2Choice as L2Choice
from .analysis.sweeps import LearningCurve as LearningCurve
from .analysis.sweeps import choose_l2 as choose_l2
from .analysis.sweeps import learning_curve as learning_curve
from .backends.memory import OutOfMemoryError as OutOfMemoryError
from .backends.select import DeviceError as DeviceError
from .backends.threads import limit_threads as limit_threads
from .checks import Numbers as Numbers
from .data.augmentation import Augmentation as Augmentation
from .data.augmentation import Cutout as Cutout
from .data.augmentation import GaussianNoise as GaussianNoise
from .data.augmentation import HorizontalFlip as HorizontalFlip
from .data.augmentation import Mixup as Mixup
from .data.augmentation import Rotation as Rotation
from .data.augmentation import Shift as Shift
from .data.augmentation import Zoom as Zoom
from .data.batches import Rows as Rows
from .data.batches import partition as partition
from .data.bins import piecewise_bins as piecewise_bins
from .files.safetensors_files import ModelFileError as ModelFileError
from .nn.activations import ELU as ELU
from .nn.activations import GELU as GELU
from .nn.activations import SELU as SELU
from .nn.activations import LeakyReLU as LeakyReLU
from .nn.activations import Mish as Mish
from .nn.activations import ReLU as ReLU
from .nn.activations import Sigmoid as Sigmoid
from .nn.activations import SiLU as SiLU
from .nn.activations import SmoothClip as SmoothClip
from .nn.activations import Softmax as Softmax
from .nn.activations import Softplus as Softplus
from .nn.activations import Tanh as Tanh
from .nn.batch_norm import BatchNorm as BatchNorm
from .nn.calibration import calibrate as calibrate
from .nn.calibration import temperature_of as temperature_of
from .nn.categories import Embedding as Embedding
from .nn.categories import OneHot as OneHot
from .nn.dropout import Dropout as Dropout
from .nn.ensemble_linear import EnsembleLinear as EnsembleLinear
from .nn.initializers import He as He
from .nn.initializers import Initializer as Initializer
from .nn.initializers import LeCun as LeCun
from .nn.initializers import Normal as Normal
from .nn.initializers import Xavier as Xavier
from .nn.initializers import Zeros as Zeros
from .nn.layer import Layer as Layer
from .nn.layer import LayerBuffers as LayerBuffers
from .nn.linear import Linear as Linear
from .nn.loading import load as load
from .nn.loss import Loss as Loss
from .nn.losses import HalfSquaredError as HalfSquaredError
from .nn.losses import Huber as Huber
from .nn.losses import MeanSquaredError as MeanSquaredError
from .nn.losses import PoissonDeviance as PoissonDeviance
from .nn.losses import Quantile as Quantile
from .nn.losses import SigmoidCrossEntropy as SigmoidCrossEntropy
from .nn.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from .nn.metrics import accuracy as accuracy
from .nn.metrics import error_rate as error_rate
from .nn.network import Network as Network
from .nn.periodic import PeriodicEmbedding as PeriodicEmbedding
from .nn.piecewise import PiecewiseLinearEmbedding as PiecewiseLinearEmbedding
from .nn.prepared import PreparedPredictor as PreparedPredictor
from .nn.repeated_columns import RepeatedColumns as RepeatedColumns
from .nn.scale import Scale as Scale
from .nn.schedule import Schedule as Schedule
from .nn.stacking import stack as stack
from .nn.standardize import Standardize as Standardize
from .optim.averages import ExponentialMovingAverage as ExponentialMovingAverage
from .optim.averages import SimpleMovingAverage as SimpleMovingAverage
from .optim.optimizers import SGD as SGD
from .optim.optimizers import Adagrad as Adagrad
from .optim.optimizers import Adam as Adam
from .optim.optimizers import AdamW as AdamW
from .optim.optimizers import Lion as Lion
from .optim.optimizers import Momentum as Momentum
from .optim.optimizers import NAdam as NAdam
from .optim.optimizers import Optimizer as Optimizer
from .optim.optimizers import RMSProp as RMSProp
from .optim.schedules import Constant as Constant
from .optim.schedules import Cosine as Cosine
from .optim.schedules import Exponential as Exponential
from .optim.schedules import FlatCosine as FlatCosine
from .optim.schedules import InverseSquareRoot as InverseSquareRoot
from .optim.schedules import InverseTime as InverseTime
from .optim.schedules import LogCosine as LogCosine
from .optim.schedules import OneCycle as OneCycle
from .optim.schedules import Piecewise as Piecewise
from .search.distributions import choice as choice
from .search.distributions import int_uniform as int_uniform
from .search.distributions import log_uniform as log_uniform
from .search.distributions import one_minus_log_uniform as one_minus_log_uniform
from .search.distributions import uniform as uniform
from .search.halving import Halving as Halving
from .search.result import Tuning as Tuning
from .search.space import grid as grid
from .search.space import random_draws as random_draws
from .search.space import when as when
from .search.studies import load_study as load_study
from .tabular.model import Model as Model
from .tabular.model import load_model as load_model
from .train.callback import Callback as Callback
from .train.callbacks import EarlyStopping as EarlyStopping
from .train.callbacks import WeightAverage as WeightAverage
from .train.checkpoints import Checkpoints as Checkpoints
from .train.history import DivergedError as DivergedError
from .train.history import History as History
from .train.history import MemberEnd as MemberEnd
from .train.metrics import Metric as Metric
from .train.time_limit import TimeLimit as TimeLimit
from .train.trainer import Trainer as Trainer


def __getattr__(name: str) -> object:
    """Load the estimators, and scikit-learn with them, when somebody asks for them."""
    if name == "tune":
        from .estimators.tuning import tune

        return tune
    if name == "MLPClassifier":
        from .estimators.classifier import MLPClassifier

        return MLPClassifier
    if name == "MLPRegressor":
        from .estimators.regressor import MLPRegressor

        return MLPRegressor
    if name == "TabularClassifier":
        from .tabular.estimators import TabularClassifier

        return TabularClassifier
    if name == "TabularRegressor":
        from .tabular.estimators import TabularRegressor

        return TabularRegressor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

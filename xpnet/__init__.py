"""Neural networks that train where your arrays live: NumPy on the CPU, CuPy on CUDA GPUs."""

from .activations import LeakyReLU as LeakyReLU
from .activations import ReLU as ReLU
from .activations import Sigmoid as Sigmoid
from .activations import Softmax as Softmax
from .activations import Tanh as Tanh
from .augmentation import Augmentation as Augmentation
from .augmentation import Cutout as Cutout
from .augmentation import GaussianNoise as GaussianNoise
from .augmentation import HorizontalFlip as HorizontalFlip
from .augmentation import Mixup as Mixup
from .augmentation import Rotation as Rotation
from .augmentation import Shift as Shift
from .augmentation import Zoom as Zoom
from .averages import ExponentialMovingAverage as ExponentialMovingAverage
from .averages import SimpleMovingAverage as SimpleMovingAverage
from .backend import DeviceError as DeviceError
from .callbacks import EarlyStopping as EarlyStopping
from .callbacks import WeightAverage as WeightAverage
from .checkpoints import Checkpoints as Checkpoints
from .data import Rows as Rows
from .data import partition as partition
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import diagnose as diagnose
from .gradient_check import GradientCheck as GradientCheck
from .gradient_check import check_gradients as check_gradients
from .history import DivergedError as DivergedError
from .history import History as History
from .initializers import He as He
from .initializers import Initializer as Initializer
from .initializers import LeCun as LeCun
from .initializers import Normal as Normal
from .initializers import Xavier as Xavier
from .initializers import Zeros as Zeros
from .layers import BatchNorm as BatchNorm
from .layers import Dropout as Dropout
from .layers import Layer as Layer
from .layers import Linear as Linear
from .memory import OutOfMemoryError as OutOfMemoryError
from .metrics import accuracy as accuracy
from .metrics import error_rate as error_rate
from .model import Model as Model
from .model import load_model as load_model
from .network import Network as Network
from .network import load as load
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .optimizers import Momentum as Momentum
from .optimizers import Optimizer as Optimizer
from .optimizers import RMSProp as RMSProp
from .profile_result import Profile as Profile
from .profiling import profile as profile
from .propagation import activation_scales as activation_scales
from .propagation import gradient_scales as gradient_scales
from .schedules import Constant as Constant
from .schedules import Cosine as Cosine
from .schedules import Exponential as Exponential
from .schedules import InverseSquareRoot as InverseSquareRoot
from .schedules import InverseTime as InverseTime
from .schedules import Piecewise as Piecewise
from .search_space import choice as choice
from .search_space import grid as grid
from .search_space import int_uniform as int_uniform
from .search_space import log_uniform as log_uniform
from .search_space import one_minus_log_uniform as one_minus_log_uniform
from .search_space import random_draws as random_draws
from .search_space import uniform as uniform
from .serialization import ModelFileError as ModelFileError
from .sweeps import L2Choice as L2Choice
from .sweeps import LearningCurve as LearningCurve
from .sweeps import choose_l2 as choose_l2
from .sweeps import learning_curve as learning_curve
from .training import Callback as Callback
from .training import Trainer as Trainer

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the estimators, and scikit-learn with them, when somebody asks for them."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

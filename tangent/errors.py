"""The errors of the mathematics, as one small tree.

    TangentError
    ├── UnknownBackbone        ├── BadComponent          ├── NoStatistics
    ├── BackboneUnavailable    ├── FingerprintMismatch   ├── BadWeight
    ├── UnsupportedModel       ├── BadHyperparameter     ├── NonFinite
    ├── UnknownScope           ├── IndefiniteProblem     ├── Overflow
    ├── NotDowndatable          ├── UnknownOperator       ├── BadParameter
    ├── BadDerivation          ├── UnknownDevice         ├── NotLeftOut
    ├── BadPrivacy             ├── BadCard               ├── ProbeMismatch
    ├── WrongWeights, a BackboneUnavailable              └── OutOfMemory

Every error has a stable `code`; its message says what is wrong and what to do.
"""

from typing import ClassVar


class TangentError(ValueError):
    """An error of the mathematics or its inputs."""

    code: ClassVar[str] = "tangent_error"


class UnknownBackbone(TangentError):
    code = "unknown_backbone"


class BackboneUnavailable(TangentError):
    code = "backbone_unavailable"


class WrongWeights(BackboneUnavailable):
    code = "wrong_weights"


class UnsupportedModel(TangentError):
    code = "unsupported_model"


class UnknownScope(TangentError):
    code = "unknown_scope"


class BadComponent(TangentError):
    code = "bad_component"


class FingerprintMismatch(TangentError):
    code = "fingerprint_mismatch"


class BadCard(TangentError):
    code = "bad_card"


class ProbeMismatch(TangentError):
    code = "probe_mismatch"


class BadHyperparameter(TangentError):
    code = "bad_hyperparameter"


class BadPrivacy(TangentError):
    code = "bad_privacy"


class BadWeight(TangentError):
    code = "bad_weight"


class RuleUnavailable(TangentError):
    code = "rule_unavailable"


class NotDowndatable(TangentError):
    code = "not_restatable"


class NoStatistics(TangentError):
    code = "no_statistics"


class NotLeftOut(TangentError):
    code = "not_left_out"


class NonFinite(TangentError):
    code = "non_finite"


class IndefiniteProblem(TangentError):
    code = "problem_indefinite"


class Overflow(TangentError):
    code = "weights_too_large"


class UnknownOperator(TangentError):
    code = "unknown_operator"


class BadParameter(TangentError):
    code = "bad_parameter"


class BadDerivation(TangentError):
    code = "bad_derivation"


class UnknownDevice(TangentError):
    code = "unknown_device"


class OutOfMemory(TangentError):
    code = "out_of_memory"

"""Operators whose derivative is zero wherever it exists: steps, comparisons, integers, shapes."""

from __future__ import annotations

from pertcore.adapters.onnx.registry import zero

zero("Sign Ceil Floor Round Hardmax")
zero("ArgMax ArgMin NonZero NonMaxSuppression Shape Size IsNaN IsInf")
zero("Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor Not")
zero("BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitCast")
zero(
    "Constant ConstantOfShape EyeLike RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)
zero("Multinomial Bernoulli BlackmanWindow HammingWindow HannWindow MelWeightMatrix")
# The range that DynamicQuantizeLinear measures counts as fixed, here and in its estimate.
zero("QuantizeLinear DynamicQuantizeLinear ConvInteger MatMulInteger QLinearConv QLinearMatMul")
zero(
    "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor Binarizer OneHotEncoder "
    "LabelEncoder CategoryMapper",
    domain="ai.onnx.ml",
)
zero("TfIdfVectorizer StringNormalizer StringConcat StringSplit RegexFullMatch ImageDecoder")

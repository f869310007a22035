"""What makes the OpenMMLab stack work on current versions; ``import glipv2_mmdet`` applies it once.

Order matters: versions are checked before anything else of the stack is imported (hence the imports inside
the function), and the stand-in for mmcv's compiled operations must be in place before the first ``import
mmcv.ops``, which mmdet's models do while they load.
"""

from glipv2_mmdet.compat.versions import StackError, check_stack

__all__ = ['StackError', 'apply_compat', 'check_stack']


def apply_compat() -> None:
    """Check the installed stack and repair what is known to be broken. A second call changes nothing.

    Raises:
        StackError: a package is missing, too old, or does not start; all problems are in one message.
    """
    check_stack()
    from glipv2_mmdet.compat.config_package import offer_configs
    from glipv2_mmdet.compat.mmcv_ops import provide_mmcv_ops
    from glipv2_mmdet.compat.mmdet_bert import repair_mmdet_bert
    from glipv2_mmdet.compat.packed_text import keep_text_of_samples
    from glipv2_mmdet.compat.safe_load import allow_mmengine_checkpoints

    provide_mmcv_ops()
    repair_mmdet_bert()
    keep_text_of_samples()
    allow_mmengine_checkpoints()
    offer_configs()

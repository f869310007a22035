# Encoder ablation of the paper's appendix: GLIPv2-B with BERT in place of the CLIP type, in encoder and fusion:
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_bert_pretrain.py 8
# Everything else stays as in B, the text encoder's rate too; the paper does not say whether it was lowered for BERT.
_base_ = './glipv2_b_pretrain.py'

bert_pipeline = [
    dict(step, vocab='bert-base-uncased') if step['type'] == 'BuildPrompt' else step for step in _base_.train_pipeline
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                dict(source, pipeline=bert_pipeline) for source in _base_.train_dataloader.dataset.dataset.datasets
            ]
        )
    )
)

model = dict(
    language_model=dict(
        _delete_=True,
        type='BertTextEncoder',
        vocab='bert-base-uncased',
        max_tokens=256,
        grad_checkpointing=True,
        pretrained='google-bert/bert-base-uncased',
    ),
    fusion=dict(text_channels=768, text_heads=12, text_layer='bert'),
    bbox_head=dict(text_channels=768),
    inter_loss=dict(text_channels=768),
    mlm_head=dict(text_channels=768, vocab_size=30522),
)

"""Text to ids and back, behind one contract (:mod:`.contract`), stored as JSON (:mod:`.files`).

==============  =====================================  ==========================================
tokenizer       one token is                           decoding gives
==============  =====================================  ==========================================
``char``        a character                            the text
``word``        a lower-cased word or punctuation      lower-cased text, spaced by typographic habit
``whitespace``  what stands between spaces             tokens with spaces
``bpe``         a piece of a word (Sennrich et al.,    the text to the last character; no character
                2016), learned by ``tokenizers``       is ever ``<unk>``
``pretrained``  what a checkpoint reads                the text, as the checkpoint writes it
==============  =====================================  ==========================================

The first four are learned (:func:`.learning.learn`), the last comes with a checkpoint
(:func:`.pretrained.load_pretrained_tokenizer`). ``whitespace`` is for corpora that others cut into
tokens (WikiText, Penn Treebank); ``<unk>`` in such a text is the unknown word itself. A new kind is
a class of the contract here, named in :mod:`.files`.
"""

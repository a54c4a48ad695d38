"""The help of the main screen besides keys: questions, and the signs on the screen."""

from tokex_gguf.play.actions import Action

QUESTIONS: tuple[tuple[str, Action, str], ...] = (
    ("↓ → ←", Action.APPEND, "What comes next? ↓ selects a token, → appends it, ← pops it again."),
    ("e", Action.LAYER, "How likely was each token (e), how uncertain the model (e again)?"),
    ("B b", Action.HIGHEST_ENTROPY, "Where was the model most uncertain (B), most surprised (b)?"),
    ("d", Action.COPY, "How to try another way? d copies the prompt: w and s switch."),
    ("S", Action.SAMPLERS, "Which sampler cuts a token? S, then Enter: the token's row names it."),
    ("S", Action.SAMPLERS, "How likely is any other token, also with samplers? “all but” says it."),
    ("W i", Action.ANSWERS, "Where do tokens lead? W lists the answers; i, ctrl+p scores one."),
    ("C", Action.CONSTRAINT, "Where does a schema cost most? C sets it, space plays, then E and n."),
    ("v", Action.VERSUS, "What did a word change? K replaces it where you look, v compares."),
    ("V", Action.VERSUS_MODEL, "What does a quantisation cost? V compares two models, D finds flips."),
    ("p", Action.PROMPTS, "How to bring in another text, or file? p, then n: type or paste it."),
    ("t", Action.TREE, "Where is a path that I played? t has all of this text, / finds one."),
    ("y", Action.SESSIONS, "Where is what I played yesterday? y lists the sessions, typing finds."),
)
"""Questions of newcomers. Each fits a line of the help on a small screen."""

SIGNS: tuple[tuple[str, str], ...] = (
    ("· before a row", "The table after this token is known already: → shows it at once."),
    ("ahead", "The text that most likely follows this row, as far as it is known: it fills while you look."),
    ("• before a row", "You were there: the tree has this path."),
    ("› before a row", "The token that was taken here."),
    ("␣ ⏎ ⇥ ‹E2›", "A space, a line break, a tab; a byte that is no whole character by itself."),
    (
        "split unlike the tokenizer",
        "You chose tokens that spell this text in another way than the tokenizer would. "
        "That is not an error, but unusual for the model. T splits it anew.",
    ),
    ("bytes of no whole character", "A part of a character was deleted: these bytes are no text."),
    ("bold text", "Tokens that you chose, or autoplay; the rest is text that was typed or read."),
    ("to 0.2", "What a bar of full length stands for, where that is not 1."),
    ("ranks 1–30: 94.0%", "The probability of all rows down to the last one in sight."),
    (
        "raw, final",
        "What the model says, and the chance to be drawn that the samplers leave. ↓ is by what it is sorted.",
    ),
    ("a row struck through", "This token cannot be drawn. What cut it stands in place of its chance."),
    ("+2, banned", "Behind a token: what is added to its logit."),
    ("12 survive", "So many tokens can be drawn, and so much of the probability is theirs together."),
    ("sharpens: 2 → 1 bits", "What temperature does to what is left; above 1 it flattens."),
    ("drawn", "How often each token came in the draws that were counted."),
    (
        "93 % match",
        "The share of the draws that lie where the probabilities put them, and what chance alone would give.",
    ),
    ("│72─●─│96─│", "The bar of the chances, the most likely token first. ● is the number drawn."),
    ("grammar: 3 % legal", "So much of the probability by the model is of tokens that the constraint allows here."),
    ("may end, must end", "The text fits the constraint as it is; nothing else than its end is legal."),
    ("must end here, +4 bits", "What the end would cost: it is no token of the prompt yet, and not in the cost."),
    ("broken at token 12", "The first token that the constraint did not allow. Behind it nothing is legal."),
    ("cost", "Bits that the constraint cost the model: −log2 of the legal part, summed up over the text under it."),
    ("tokens, logprob", "The prompt's length, and the natural logarithm of its probability given its first token."),
    ("ppl", "Perplexity: as unsure as if each token had been one of so many equal ones."),
    ("surprisal", "Bits: −log2 of the probability of the token that came. Large: it was unlikely."),
    ("entropy", "Bits: large where many tokens were likely. In brackets from 0 (certain) to 1 (all alike)."),
    ("2^H", "Two to the power of the entropy: as unsure as between so many equally likely tokens."),
    ("#3", "The third largest of its kind in this prompt."),
    ("3.98–4.35 bits", "Over a server that tells a part of a distribution: the entropy is somewhere between."),
    ("> 100", "Over a server: the rank is higher than this; more of it is not told."),
    ("at least", "Over a server: the colours are of the lowest that entropy or rank can be."),
    ("… 312/1,000", "Over a server: so many tokens of the prompt have their numbers; the others are on their way."),
    (
        "A, B, Δ bits",
        "While you compare: the probabilities by A and by B, and log2 of A's by B's. +1: twice as likely by A; "
        "−1: half as likely; grey or 0: no difference.",
    ),
    ("moved", "While you compare: by how many ranks the token stands higher (↑) or lower (↓) in A than in B."),
    (
        "+3.21 bits over 40",
        "A makes the 40 tokens that both have, after the first difference, 2^3.21 times as likely as B does.",
    ),
    (
        "KL here",
        "KL(A‖B), in bits, over the whole vocabulary: how much the tables differ where you look. "
        "The sum of p·log2(p/q), p by A, q by B.",
    ),
    ("KL mean", "While you compare two models: the mean of it over the tokens of the prompt, in bits."),
    ("same top", "At so many of them both models have the same most likely token."),
    ("Δp", "The root of the mean square of what B adds to the probability of the token that came."),
    ("ppl ×1.29", "B's perplexity divided by A's: above 1, B predicts the text worse."),
    ("A …, B …", "How each model goes on by its most likely tokens; coloured from where they part."),
    ("flip", "Another token is the most likely in B than in A."),
    (
        "delta: blue, red",
        "The prompt's colours while you compare: likelier by A, likelier by B. E shows other layers.",
    ),
    (
        "+2 −1 tokens",
        "While you compare: A has 2 tokens that B lacks, in italics; B has 1 that A lacks, there.",
    ),
    ("known, 0 tokens", "The last key cost no decode; else how many tokens it decoded, and how long that took."),
)
"""Signs on the main screen, with their meanings."""

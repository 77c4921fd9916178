"""Mod-VisualRWKV in plain NumPy, a token and a patch at a time; shares no code with the package.

Float64 throughout. Letters: T rows, C width, H heads of width N; `p` the tensors of one layer.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, weight, bias, epsilon=1e-5):
    return (x - x.mean()) / np.sqrt(x.var() + epsilon) * weight + bias


def under(tensors, prefix):
    return {
        name[len(prefix) :]: np.asarray(value, np.float64)
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def tower(tensors, pixels, n_head):
    """Give the last hidden state of one image, (P, D); pixels (3, S, S)."""
    t = under(tensors, "vit.vision_model.")
    kernel = t["embeddings.patch_embedding.weight"]
    patch = kernel.shape[-1]
    rows = [t["embeddings.class_embedding"]]
    for top in range(0, pixels.shape[1], patch):
        for left in range(0, pixels.shape[2], patch):
            cut = pixels[:, top : top + patch, left : left + patch]
            rows.append(np.array([(one * cut).sum() for one in kernel]))
    x = np.array(rows) + t["embeddings.position_embedding.weight"]
    x = np.array([norm(row, t["pre_layrnorm.weight"], t["pre_layrnorm.bias"]) for row in x])
    n_layer = 1 + max(int(name.split(".")[2]) for name in t if name.startswith("encoder.layers."))
    for i in range(n_layer):
        p = under(t, f"encoder.layers.{i}.")
        h = np.array([norm(row, p["layer_norm1.weight"], p["layer_norm1.bias"]) for row in x])
        q, k, v = (h @ p[f"self_attn.{n}_proj.weight"].T + p[f"self_attn.{n}_proj.bias"] for n in "qkv")
        size = q.shape[1] // n_head
        mixed = np.zeros_like(x)
        for head in range(n_head):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(x)):
                weights = np.exp(k[:, part] @ q[row, part] / np.sqrt(size))
                mixed[row, part] = weights / weights.sum() @ v[:, part]
        x = x + mixed @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
        h = np.array([norm(row, p["layer_norm2.weight"], p["layer_norm2.bias"]) for row in x])
        h = h @ p["mlp.fc1.weight"].T + p["mlp.fc1.bias"]
        x = x + (h * sigmoid(1.702 * h)) @ p["mlp.fc2.weight"].T + p["mlp.fc2.bias"]
    return x


def pool(x, grid):
    """Pool (P, D), the class token first, to (L, D), the class token last."""
    first, patches = x[0], x[1:]
    if grid == 0:
        return np.array([first])
    if grid == -1:
        return np.array([*patches, first])
    if grid == 1:
        return np.array([patches.sum(0) / len(patches), first])
    side = round(len(patches) ** 0.5)
    stride = side // grid
    cells = []
    for top in range(0, side - stride + 1, stride):
        for left in range(0, side - stride + 1, stride):
            inside = [patches[(top + i) * side + left + j] for i in range(stride) for j in range(stride)]
            cells.append(sum(inside) / len(inside))
    return np.array([*cells, first])


def project(tensors, x):
    t = under(tensors, "proj.")
    if "weight" in t:
        return x @ t["weight"].T
    rows = (x * sigmoid(x @ t["gate.weight"].T)) @ t["o_proj.weight"].T
    return np.array([norm(row, t["ln_v.weight"], t["ln_v.bias"]) for row in rows])


def heads(y, p, H, epsilon):
    """Norm each head of (C,)."""
    w, b = p["att.ln_x.weight"].reshape(H, -1), p["att.ln_x.bias"].reshape(H, -1)
    return np.array([norm(one, w[i], b[i], epsilon) for i, one in enumerate(y.reshape(H, -1))]).reshape(-1)


def goose(p, x, before, S, v_first, H):
    """Run the time mix of RWKV-7 on one row; gives output, state, the value of layer 0."""
    mix = {n: x + (before - x) * p[f"att.x_{n}"].reshape(-1) for n in "rwkvag"}
    r, k, v = (p[f"att.{n}.weight"] @ mix[n[0]] for n in ("receptance", "key", "value"))
    w = np.exp(
        -np.exp(-0.5) * sigmoid(p["att.w0"].reshape(-1) + np.tanh(mix["w"] @ p["att.w1"]) @ p["att.w2"])
    )
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * sigmoid(p["att.v0"].reshape(-1) + mix["v"] @ p["att.v1"] @ p["att.v2"])
    a = sigmoid(p["att.a0"].reshape(-1) + mix["a"] @ p["att.a1"] @ p["att.a2"])
    g = sigmoid(mix["g"] @ p["att.g1"]) @ p["att.g2"]
    kk = (k * p["att.k_k"].reshape(-1)).reshape(H, -1)
    kk = kk / np.sqrt((kk**2).sum(1, keepdims=True))
    k = (k * (1 + (a - 1) * p["att.k_a"].reshape(-1))).reshape(H, -1)
    r, w, v, a = (one.reshape(H, -1) for one in (r, w, v, a))
    y, S = np.zeros_like(v), S.copy()
    for h in range(H):
        S[h] = S[h] @ np.diag(w[h]) - np.outer(S[h] @ kk[h], kk[h] * a[h]) + np.outer(v[h], k[h])
        y[h] = S[h] @ r[h]
    y = heads(y.reshape(-1), p, H, 64e-5).reshape(H, -1)
    y = y + (r * k * p["att.r_k"]).sum(1, keepdims=True) * v
    return p["att.output.weight"] @ (y.reshape(-1) * g), S, v_first


def earlier(p, x, before, S, v_first, H):
    """Run the time mix of RWKV-5.2 or 6 on one row."""
    N = x.size // H
    if "att.time_maa_x" in p:
        base = x + (before - x) * p["att.time_maa_x"].reshape(-1)
        shares = np.split(np.tanh(base @ p["att.time_maa_w1"]), 5)
        mix = {}
        for n, share, second in zip("wkvrg", shares, p["att.time_maa_w2"], strict=True):
            mix[n] = x + (before - x) * (p[f"att.time_maa_{n}"].reshape(-1) + share @ second)
        rate = (
            p["att.time_decay"].reshape(-1)
            + np.tanh(mix["w"] @ p["att.time_decay_w1"]) @ p["att.time_decay_w2"]
        )
        epsilon = 64e-5
    else:
        mix = {n: before + (x - before) * p[f"att.time_mix_{n}"].reshape(-1) for n in "kvrg"}
        rate = p["att.time_decay"].reshape(-1)
        epsilon = 1e-5 * (N / 8) ** 2
    r, k, v = ((p[f"att.{n}.weight"] @ mix[n[0]]).reshape(H, N) for n in ("receptance", "key", "value"))
    g = p["att.gate.weight"] @ mix["g"]
    w, u = np.exp(-np.exp(rate)).reshape(H, N), p["att.time_faaaa"]
    y, S = np.zeros((H, N)), S.copy()
    for h in range(H):
        y[h] = (S[h] + np.outer(v[h], u[h] * k[h])) @ r[h]
        S[h] = S[h] @ np.diag(w[h]) + np.outer(v[h], k[h])
    return p["att.output.weight"] @ (heads(y.reshape(-1), p, H, epsilon) * g * sigmoid(g)), S, v_first


def channel(p, x, before):
    if "ffn.x_k" in p:
        hidden = p["ffn.key.weight"] @ (x + (before - x) * p["ffn.x_k"].reshape(-1))
        return p["ffn.value.weight"] @ np.maximum(hidden, 0) ** 2
    if "ffn.time_maa_k" in p:
        xk, xr = (x + (before - x) * p[f"ffn.time_maa_{n}"].reshape(-1) for n in "kr")
    else:
        xk, xr = (before + (x - before) * p[f"ffn.time_mix_{n}"].reshape(-1) for n in "kr")
    value = p["ffn.value.weight"] @ np.maximum(p["ffn.key.weight"] @ xk, 0) ** 2
    return sigmoid(p["ffn.receptance.weight"] @ xr) * value


def backbone(tensors, x, spans, H):
    """Give the logits, (T, V), of rows (T, C); `spans` are [begin, end) that odd layers read backwards."""
    t = under(tensors, "rwkv.")
    x = [norm(row, t["blocks.0.ln0.weight"], t["blocks.0.ln0.bias"]) for row in x]
    n_layer = 1 + max(int(name.split(".")[1]) for name in t if name.startswith("blocks."))
    C = len(x[0])
    firsts = [None] * len(x)
    for i in range(n_layer):
        p = under(t, f"blocks.{i}.")
        order = list(range(len(x)))
        if i % 2:
            for begin, end in spans:
                order[begin:end] = reversed(order[begin:end])
        S, before, ffn_before = np.zeros((H, C // H, C // H)), np.zeros(C), np.zeros(C)
        mix = goose if "att.r_k" in p else earlier
        for place in order:
            h = norm(x[place], p["ln1.weight"], p["ln1.bias"])
            y, S, firsts[place] = mix(p, h, before, S, firsts[place], H)
            before = h
            x[place] = x[place] + y
            h = norm(x[place], p["ln2.weight"], p["ln2.bias"])
            x[place] = x[place] + channel(p, h, ffn_before)
            ffn_before = h
    out = np.array([norm(row, t["ln_out.weight"], t["ln_out.bias"]) for row in x])
    return out @ t["head.weight"].T


def logits(tensors, runs, *, grid, is_reversed, n_head, H):
    """Give the logits, (T, V), of runs: lists of token ids, and prepared images (3, S, S)."""
    rows, spans = [], []
    for run in runs:
        if isinstance(run, list):
            rows += [np.asarray(tensors["rwkv.emb.weight"][token], np.float64) for token in run]
        else:
            image = project(tensors, pool(tower(tensors, run, n_head), grid))
            if is_reversed:
                spans.append((len(rows), len(rows) + len(image) - 1))
            rows += list(image)
    return backbone(tensors, rows, spans, H)

// Philox 4x32-10 (Salmon et al., 2011): the CPU's numbers, word for word. The 32-bit product is made of 16-bit ones.

fn fs_mul_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let mid = ah * bl + (low >> 16u);
    let more = al * bh + (mid & 0xffffu);
    return ah * bh + (mid >> 16u) + (more >> 16u);
}

// Word `i % 4` of counter `offset + i / 4`: key and offset are two words each.
fn fs_philox(i: u32, key: vec2<u32>, offset: vec2<u32>) -> u32 {
    let low = offset.x + (i >> 2u);
    var c = vec4<u32>(low, offset.y + select(0u, 1u, low < offset.x), 0u, 0u);
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let p = fs_mul_high(0xD2511F53u, c.x);
        let q = fs_mul_high(0xCD9E8D57u, c.z);
        c = vec4<u32>(q ^ c.y ^ k.x, 0xCD9E8D57u * c.z, p ^ c.w ^ k.y, 0xD2511F53u * c.x);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c[i & 3u];
}

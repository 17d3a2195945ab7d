// 64 by 64 elements for each workgroup, 8 by 8 for each of its 64 threads; 16 of k at a time. The registers are written out:
// arrays that are indexed by variables would lie in memory.

var<workgroup> left: array<f32, 1024>;
var<workgroup> right: array<vec4<f32>, 256>;

fn left_at(base: u32, line: u32, k: u32) -> f32 {
    if (line < word(0u) && k < word(3u)) { return bitcast<f32>(LEFT[base + line * word(5u) + k * word(6u)]); }
    return 0.0;
}

fn right_at(base: u32, k: u32, column: u32) -> f32 {
    if (column < word(1u) && k < word(3u)) { return bitcast<f32>(RIGHT[base + k * word(8u) + column * word(9u)]); }
    return 0.0;
}

fn keep4(line: u32, column: u32, sheet: u32, v: vec4<f32>) {
    keep(line, column, sheet, v.x);
    keep(line, column + 1u, sheet, v.y);
    keep(line, column + 2u, sheet, v.z);
    keep(line, column + 3u, sheet, v.w);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let sheet = group.z + word(14u);
    var a0 = word(4u);
    var b0 = word(7u);
    var rest = sheet;
    for (var d = word(13u); d > 0u; d--) {
        let n = word(15u + d);
        let p = rest % n;
        rest /= n;
        a0 += p * word(23u + d);
        b0 += p * word(31u + d);
    }
    let lines = group.y * 64u;
    let columns = group.x * 64u;
    let x = lane & 7u;
    let y = lane >> 3u;
    var c0l = vec4<f32>();
    var c0r = vec4<f32>();
    var c1l = vec4<f32>();
    var c1r = vec4<f32>();
    var c2l = vec4<f32>();
    var c2r = vec4<f32>();
    var c3l = vec4<f32>();
    var c3r = vec4<f32>();
    var c4l = vec4<f32>();
    var c4r = vec4<f32>();
    var c5l = vec4<f32>();
    var c5r = vec4<f32>();
    var c6l = vec4<f32>();
    var c6r = vec4<f32>();
    var c7l = vec4<f32>();
    var c7r = vec4<f32>();
    for (var k = word(2u); k < word(3u); k += 16u) {
        // left[k][line], so that a thread's eight lines are neighbours; right[k][column].
        for (var s = 0u; s < 16u; s++) {
            left[s * 64u + lane] = left_at(a0, lines + lane, k + s);
        }
        for (var s = 0u; s < 4u; s++) {
            let at = s * 64u + lane;
            let column = columns + (at & 15u) * 4u;
            let j = k + (at >> 4u);
            right[at] = vec4<f32>(right_at(b0, j, column), right_at(b0, j, column + 1u), right_at(b0, j, column + 2u), right_at(b0, j, column + 3u));
        }
        workgroupBarrier();
        for (var j = 0u; j < 16u; j++) {
            let bl = right[j * 16u + x * 2u];
            let br = right[j * 16u + x * 2u + 1u];
            let at = j * 64u + y * 8u;
            let a0 = left[at + 0u];
            let a1 = left[at + 1u];
            let a2 = left[at + 2u];
            let a3 = left[at + 3u];
            let a4 = left[at + 4u];
            let a5 = left[at + 5u];
            let a6 = left[at + 6u];
            let a7 = left[at + 7u];
            c0l = fma(vec4<f32>(a0), bl, c0l);
            c0r = fma(vec4<f32>(a0), br, c0r);
            c1l = fma(vec4<f32>(a1), bl, c1l);
            c1r = fma(vec4<f32>(a1), br, c1r);
            c2l = fma(vec4<f32>(a2), bl, c2l);
            c2r = fma(vec4<f32>(a2), br, c2r);
            c3l = fma(vec4<f32>(a3), bl, c3l);
            c3r = fma(vec4<f32>(a3), br, c3r);
            c4l = fma(vec4<f32>(a4), bl, c4l);
            c4r = fma(vec4<f32>(a4), br, c4r);
            c5l = fma(vec4<f32>(a5), bl, c5l);
            c5r = fma(vec4<f32>(a5), br, c5r);
            c6l = fma(vec4<f32>(a6), bl, c6l);
            c6r = fma(vec4<f32>(a6), br, c6r);
            c7l = fma(vec4<f32>(a7), bl, c7l);
            c7r = fma(vec4<f32>(a7), br, c7r);
        }
        workgroupBarrier();
    }
    let line = lines + y * 8u;
    let column = columns + x * 8u;
    keep4(line + 0u, column, sheet, c0l);
    keep4(line + 0u, column + 4u, sheet, c0r);
    keep4(line + 1u, column, sheet, c1l);
    keep4(line + 1u, column + 4u, sheet, c1r);
    keep4(line + 2u, column, sheet, c2l);
    keep4(line + 2u, column + 4u, sheet, c2r);
    keep4(line + 3u, column, sheet, c3l);
    keep4(line + 3u, column + 4u, sheet, c3r);
    keep4(line + 4u, column, sheet, c4l);
    keep4(line + 4u, column + 4u, sheet, c4r);
    keep4(line + 5u, column, sheet, c5l);
    keep4(line + 5u, column + 4u, sheet, c5r);
    keep4(line + 6u, column, sheet, c6l);
    keep4(line + 6u, column + 4u, sheet, c6r);
    keep4(line + 7u, column, sheet, c7l);
    keep4(line + 7u, column + 4u, sheet, c7r);
}

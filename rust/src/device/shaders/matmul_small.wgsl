// 16 by 16 elements for each workgroup, one for each thread; 16 of k at a time.

var<workgroup> left: array<f32, 256>;
var<workgroup> right: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let x = lane & 15u;
    let y = lane >> 4u;
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
    let line = group.y * 16u + y;
    let column = group.x * 16u + x;
    var sum = 0.0;
    for (var k = word(2u); k < word(3u); k += 16u) {
        var v = 0.0;
        if (line < word(0u) && k + x < word(3u)) { v = bitcast<f32>(LEFT[a0 + line * word(5u) + (k + x) * word(6u)]); }
        left[lane] = v;
        v = 0.0;
        if (column < word(1u) && k + y < word(3u)) { v = bitcast<f32>(RIGHT[b0 + (k + y) * word(8u) + column * word(9u)]); }
        right[lane] = v;
        workgroupBarrier();
        for (var j = 0u; j < 16u; j++) {
            sum = fma(left[y * 16u + j], right[j * 16u + x], sum);
        }
        workgroupBarrier();
    }
    keep(line, column, sheet, sum);
}

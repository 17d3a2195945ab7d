//! The text of shaders: declarations of bindings, and the library functions that are named.

use super::Buffers;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word of memory holds, and what shaders compute in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    Float,
    Int,
    Bool,
}

impl Word {
    /// The WGSL type of a value.
    pub fn name(self) -> &'static str {
        match self {
            Word::Float => "f32",
            Word::Int => "i32",
            Word::Bool => "bool",
        }
    }

    /// The WGSL of nothing.
    pub fn zero(self) -> &'static str {
        match self {
            Word::Float => "0.0",
            Word::Int => "0",
            Word::Bool => "false",
        }
    }

    /// One letter, for keys.
    pub fn letter(self) -> char {
        match self {
            Word::Float => 'f',
            Word::Int => 'i',
            Word::Bool => 'b',
        }
    }

    /// The value, of type `to`, of a word that holds this.
    pub fn load(self, text: &str, to: Word) -> String {
        let own = match self {
            Word::Float => format!("bitcast<f32>({text})"),
            Word::Int => format!("bitcast<i32>({text})"),
            Word::Bool => format!("({text} != 0u)"),
        };
        self.convert(&own, to)
    }

    /// A value of this type as one of another.
    pub fn convert(self, value: &str, to: Word) -> String {
        match (self, to) {
            (a, b) if a == b => value.to_owned(),
            (Word::Bool, Word::Float) => format!("select(0.0, 1.0, {value})"),
            (Word::Bool, Word::Int) => format!("select(0, 1, {value})"),
            // By bits: NaN is true.
            (Word::Float, Word::Bool) => format!("((bitcast<u32>({value}) & 0x7fffffffu) != 0u)"),
            (Word::Int, Word::Bool) => format!("({value} != 0)"),
            (Word::Int, Word::Float) => format!("f32({value})"),
            (Word::Float, Word::Int) => format!("fs_to_int({value})"),
            _ => value.to_owned(),
        }
    }

    /// The word of a value of this type.
    pub fn store(self, value: &str) -> String {
        match self {
            Word::Float => format!("bitcast<u32>({value})"),
            Word::Int => format!("bitcast<u32>({value})"),
            Word::Bool => format!("select(0u, 1u, {value})"),
        }
    }
}

/// Declarations that all shaders share: the numbers (`word(i)`, `number(i)`), the buffers `m0`, `m1`, …, and the fault
/// buffer last, if wanted.
pub fn header(buffers: &Buffers, faults: bool) -> String {
    let mut out = String::from(
        "struct Numbers { w: array<vec4<u32>, 32> }\n\
         @group(0) @binding(0) var<uniform> numbers: Numbers;\n\
         fn word(i: u32) -> u32 { return numbers.w[i >> 2u][i & 3u]; }\n\
         fn number(i: u32) -> f32 { return bitcast<f32>(numbers.w[i >> 2u][i & 3u]); }\n",
    );
    let mut declare = |i: usize, name: &str, write: bool| {
        let access = if write { "read_write" } else { "read" };
        out.push_str(&format!(
            "@group(0) @binding({}) var<storage, {access}> {name}: array<u32>;\n",
            i + 1
        ));
    };
    for (i, b) in buffers.list.iter().enumerate() {
        declare(i, &format!("m{i}"), b.write);
    }
    if faults {
        declare(buffers.list.len(), "faults", true);
        // Which op is known by word 0 of the fault alone: it is told by its number here.
        out.push_str("fn fault(index: i32) { faults[1] = bitcast<u32>(index); faults[0] = 1u; }\n");
    }
    out
}

/// The first lines of a main function with one invocation per element: `i` is its number, below `word(0)`.
pub const EACH: &str = "@compute @workgroup_size(256)\n\
    fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(num_workgroups) wide: vec3<u32>) {\n\
    let i = at.x + at.y * wide.x * 256u;\n\
    if (i >= word(0u)) { return; }\n";

/// The first lines of a main function with one workgroup per row: `row` is its number, below `word(0)`; `lane` is the
/// invocation's number in it.
pub const ROW: &str = "@compute @workgroup_size(256)\n\
    fn main(@builtin(workgroup_id) at: vec3<u32>, @builtin(num_workgroups) wide: vec3<u32>, \
    @builtin(local_invocation_index) lane: u32) {\n\
    let row = at.x + at.y * wide.x;\n\
    if (row >= word(0u)) { return; }\n";

/// Library functions by name: text, and the names of those they call.
static LIBRARY: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for file in [
        include_str!("../shaders/math.wgsl"),
        include_str!("../shaders/error_function.wgsl"),
        include_str!("../shaders/random.wgsl"),
    ] {
        let starts: Vec<usize> = file.match_indices("\nfn ").map(|(i, _)| i + 1).collect();
        for (k, &from) in starts.iter().enumerate() {
            let text = &file[from..starts.get(k + 1).copied().unwrap_or(file.len())];
            let name = text[3..].split('(').next().unwrap_or("");
            all.insert(name, text);
        }
    }
    all
});

/// A shader's text with the library functions that it names, and those that they name.
pub fn linked(body: String) -> String {
    let mut needed: Vec<&'static str> = Vec::new();
    let mut open = vec![body.as_str()];
    while let Some(text) = open.pop() {
        for (i, _) in text.match_indices("fs_") {
            let name: &str = text[i..]
                .split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or("");
            if let Some((known, function)) = LIBRARY.get_key_value(name)
                && !needed.contains(known)
            {
                needed.push(known);
                open.push(function);
            }
        }
    }
    let mut out = String::new();
    for name in needed {
        out.push_str(LIBRARY[name]);
    }
    out + &body
}

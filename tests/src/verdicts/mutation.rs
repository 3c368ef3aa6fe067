//! Changes of fields, always the same ones for the same seed.

/// A generator of numbers: a linear congruential one (Knuth's MMIX).
pub(super) struct Generator(u64);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut generator = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        generator.next();
        generator
    }

    fn next(&mut self) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A number below this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// One of several items.
    pub(super) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// Puts items into random order.
    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (2..=all.len()).rev() {
            all.swap(end - 1, self.below(end));
        }
    }

    /// Changes one field, preferably one that is not zero.
    pub(super) fn change(&mut self, bytes: &mut [u8]) {
        let size = *self.one_of(&[1, 1, 2, 4, 8]);
        let size = size.min(bytes.len());
        let fields = bytes.len() / size;
        let mut field = self.below(fields);
        for _ in 0..20 {
            let near = &bytes[size * field..][..size];
            if near.iter().any(|&byte| byte != 0) {
                break;
            }
            field = self.below(fields);
        }
        let bytes = &mut bytes[size * field..][..size];
        let mut old = [0; 8];
        old[..size].copy_from_slice(bytes);
        let old = u64::from_le_bytes(old);
        let new = match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => old ^ (1 << self.below(8 * size)),
            5 => self.below(40) as u64,
            6 => 1 << self.below(8 * size),
            _ => old.wrapping_mul(2),
        };
        bytes.copy_from_slice(&new.to_le_bytes()[..size]);
    }
}

//! The picture that test kernels draw, and that tests look for on the screen: a white frame, bars
//! of all eight full colours in the upper half, and the same in reverse order in the lower half.

/// Whether red, green and blue are on in a pixel.
pub fn color(x: usize, y: usize, width: usize, height: usize) -> [bool; 3] {
    let frame = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
    let bar = x * 8 / width;
    let bits = match (frame, y < height / 2) {
        (true, _) => 7,
        (_, true) => bar,
        (_, false) => 7 - bar,
    };
    [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]
}

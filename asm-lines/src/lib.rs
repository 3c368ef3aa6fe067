//! Assembly that records where each of its lines went.
//!
//! An ELF file does not tell in which mode an instruction runs, and the compiler notes no lines for
//! the assembly of a naked function: a disassembler takes 16-bit code for 64-bit code, and nobody
//! finds the source of an instruction. [`naked_asm!`] is Rust's own with a note in front of each
//! line: a label, and a row in a section that is not loaded. The program's bytes stay the same.
//! `disk-builder listing` reads the rows, and has the file that says how they look.

#[path = "../../disk-builder/src/listing/format.rs"]
mod format;

use format::{Kind, SECTION};
use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// `core::arch::naked_asm!`, with rows. Its mode directives (`.code16`, `.code32`, `.code64`) have
/// to be lines of their own. The last one has to be `.code64`, because the compiler relies on that.
///
/// A line is one string, or a macro that makes one. If such a macro makes several lines, they have
/// rows of their own if the macro uses [`lines!`].
///
/// ```
/// # #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
/// #[unsafe(naked)]
/// extern "C" fn stop() -> ! {
///     asm_lines::naked_asm!(".code16", "2:", "hlt", "jmp short 2b", ".code64")
/// }
/// ```
///
/// ```compile_fail
/// #[unsafe(naked)]
/// extern "C" fn the_next_function_would_be_for_16_bits() -> ! {
///     asm_lines::naked_asm!(".code16", "2:", "hlt", "jmp short 2b")
/// }
/// ```
///
/// ```compile_fail
/// #[unsafe(naked)]
/// extern "C" fn two_lines_in_one() -> ! {
///     asm_lines::naked_asm!(".code16; 2:", "hlt", "jmp short 2b", ".code64")
/// }
/// ```
#[proc_macro]
pub fn naked_asm(input: TokenStream) -> TokenStream {
    let mut arguments = Vec::new();
    let (mut mode, mut operands) = (64, Vec::new());
    for argument in split(input) {
        if is_operand(&argument) {
            operands.push(argument);
            continue;
        }
        let line = match Line::new(&argument) {
            Ok(line) => line,
            Err(error) => return error,
        };
        if let Kind::Mode(bits) = line.kind {
            mode = bits;
        }
        arguments.push(line.row());
        arguments.push(argument);
    }
    if mode != 64 {
        return error(Span::call_site(), "the last mode has to be .code64");
    }
    arguments.push(row(Span::call_site(), Kind::End));
    arguments.extend(operands);
    let path = "::core::arch::naked_asm!".parse::<TokenStream>();
    let path = path.unwrap_or_default();
    let arguments = TokenTree::Group(Group::new(Delimiter::Parenthesis, joined(arguments)));
    path.into_iter().chain([arguments]).collect()
}

/// Lines of assembly as one string, with their rows: for a `macro_rules!` whose assembly several
/// functions use. A row names the place where the line is written.
#[proc_macro]
pub fn lines(input: TokenStream) -> TokenStream {
    let mut arguments = Vec::new();
    for argument in split(input) {
        let line = match Line::new(&argument) {
            Ok(line) => line,
            Err(error) => return error,
        };
        if let Kind::Mode(_) = line.kind {
            return error(line.span, "the mode is changed by naked_asm! alone");
        }
        let end = TokenStream::from(TokenTree::Literal(Literal::string("\n")));
        arguments.extend([line.row(), end.clone(), argument, end]);
    }
    let concat = Ident::new("concat", Span::call_site());
    let arguments = Group::new(Delimiter::Parenthesis, joined(arguments));
    TokenStream::from_iter([
        TokenTree::Ident(concat),
        TokenTree::Punct(Punct::new('!', Spacing::Alone)),
        TokenTree::Group(arguments),
    ])
}

/// The arguments, which are separated by commas.
fn split(input: TokenStream) -> Vec<TokenStream> {
    let mut arguments = vec![TokenStream::new()];
    for token in input {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',') {
            arguments.push(TokenStream::new());
        } else if let Some(last) = arguments.last_mut() {
            last.extend([token]);
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

/// The reverse of [`split`].
fn joined(arguments: Vec<TokenStream>) -> TokenStream {
    let comma = || TokenStream::from(TokenTree::Punct(Punct::new(',', Spacing::Alone)));
    let arguments = arguments.into_iter();
    arguments.flat_map(|argument| [argument, comma()]).collect()
}

/// Is it an operand (`name = sym START`, `const 1`) or `options(…)`, and not a line?
fn is_operand(argument: &TokenStream) -> bool {
    let mut tokens = argument.clone().into_iter();
    let (first, second) = (tokens.next(), tokens.next());
    let is_macro = matches!(&second, Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
    matches!(first, Some(TokenTree::Ident(_))) && !is_macro
}

/// One line.
struct Line {
    span: Span,
    kind: Kind,
}

impl Line {
    /// # Errors
    /// A compiler error, if the line changes the mode and does more than that.
    fn new(argument: &TokenStream) -> Result<Self, TokenStream> {
        let Some(first) = argument.clone().into_iter().next() else {
            return Err(error(Span::call_site(), "no line"));
        };
        let span = first.span();
        // A macro makes code. (Quotes and escapes of the string's own form do not matter here.)
        let TokenTree::Literal(literal) = first else {
            let kind = Kind::Code;
            return Ok(Self { span, kind });
        };
        let text = literal.to_string();
        let text = text.trim_matches('"');
        let kind = if is_data(text) {
            Kind::Data
        } else {
            Kind::Code
        };
        let kind = Kind::of_name(text).unwrap_or(kind);
        if kind == Kind::Code && text.contains(".code") {
            return Err(error(span, "a change of the mode is a line of its own"));
        }
        Ok(Self { span, kind })
    }

    fn row(&self) -> TokenStream {
        row(self.span, self.kind)
    }
}

/// Does a line, behind its labels, produce bytes that are not executed? (`.byte` is for
/// instructions for which the assembler has no name.)
fn is_data(line: &str) -> bool {
    const DIRECTIVES: [&str; 8] = [
        ".word", ".long", ".quad", ".ascii", ".asciz", ".skip", ".p2align", ".balign",
    ];
    let mut words = line.split_whitespace();
    let first = words.find(|word| !word.ends_with(':'));
    first.is_some_and(|word| DIRECTIVES.contains(&word))
}

/// A label, and the row with its address.
fn row(span: Span, kind: Kind) -> TokenStream {
    // Any number that nobody else uses. (The assembler would take digits 0 and 1 alone for binary.)
    const LABEL: u32 = 77_777;

    let file = span.file().escape_default().to_string();
    let (line, kind) = (span.line(), kind.name());
    let text = [
        format!("{LABEL}: .pushsection {SECTION}, \"\", @progbits"),
        format!(".quad {LABEL}b"),
        format!(".asciz \"{file}:{line} {kind}\""),
        ".popsection".to_owned(),
    ];
    TokenStream::from(TokenTree::Literal(Literal::string(&text.join("\n"))))
}

/// A compiler error.
fn error(span: Span, text: &str) -> TokenStream {
    let mut literal = Literal::string(text);
    literal.set_span(span);
    let mut tokens = vec![
        TokenTree::Ident(Ident::new("compile_error", span)),
        TokenTree::Punct(Punct::new('!', Spacing::Alone)),
        TokenTree::Group(Group::new(
            Delimiter::Parenthesis,
            TokenTree::Literal(literal).into(),
        )),
    ];
    tokens.iter_mut().for_each(|token| token.set_span(span));
    tokens.into_iter().collect()
}

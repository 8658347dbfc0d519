//! Every code of a mistake in a source: one line, a page, an example that fails and one that does not.
//!
//! Both examples of a page are tests: the first gives exactly its code, the second gives no mistake and no warning.
//! In an example, a line `--- name` begins another file, which the first can `use`.

mod check;
mod syntax;

/// A code and its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable path that a message shows, such as `opt::shape::mismatch`.
    pub code: &'static str,
    /// One line: what is wrong.
    pub summary: &'static str,
    /// Why it is wrong, and what to do.
    pub explanation: &'static str,
    /// A file with this mistake and no other; see [`Code::failing_source`].
    pub failing: &'static str,
    /// The same file, corrected.
    pub corrected: &'static str,
    /// How often the character before each `…` of the failing example is meant; 1 where there is none.
    pub repeated: usize,
}

impl Code {
    /// The failing example with every `…` written out.
    pub fn failing_source(&self) -> String {
        let mut source = String::new();
        for c in self.failing.chars() {
            match source.chars().next_back() {
                Some(before) if c == '…' => {
                    source.extend(std::iter::repeat_n(before, self.repeated - 1))
                }
                _ => source.push(c),
            }
        }
        source
    }

    /// The page as Markdown.
    pub fn page(&self) -> String {
        let Self {
            code,
            summary,
            explanation,
            failing,
            corrected,
            ..
        } = self;
        let example = |text: &str| format!("```opt\n{}\n```\n", text.trim());
        let times = match self.repeated {
            1 => String::new(),
            many => format!("(`…` repeats the character before it {many} times.)\n\n"),
        };
        format!(
            "# {code}\n\n{summary}.\n\n{explanation}\n\n## Fails\n\n{times}{}\n## Works\n\n{}",
            example(failing),
            example(corrected)
        )
    }
}

/// All codes, by path.
pub fn all() -> impl Iterator<Item = &'static Code> {
    check::CODES.iter().chain(syntax::CODES)
}

/// The page of a code.
pub fn find(code: &str) -> Option<&'static Code> {
    all().find(|known| known.code == code)
}

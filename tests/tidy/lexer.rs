//! Cuts Rust text into words, punctuation and strings, without comments. Knows just enough of the language for that: raw
//! strings, nested comments, and that `'a` is a lifetime but `'a'` a character.

/// A piece of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A name, a keyword or a number.
    Word(String),
    /// A character of punctuation.
    Mark(char),
    /// What a string literal holds, escapes as written.
    Text(String),
}

/// A piece and the line it begins on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub piece: Piece,
    /// Where it is.
    pub line: usize,
}

impl Token {
    /// Is this the word?
    pub fn is(&self, word: &str) -> bool {
        matches!(&self.piece, Piece::Word(it) if it == word)
    }

    /// Is this the mark?
    pub fn mark(&self, mark: char) -> bool {
        self.piece == Piece::Mark(mark)
    }

    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        if let Piece::Word(it) = &self.piece {
            Some(it)
        } else {
            None
        }
    }
}

/// All pieces of `text`.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: text.chars().collect(),
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while lexer.at < lexer.rest.len() {
        lexer.step();
    }
    lexer.found
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self) -> char {
        let it = self.peek(0);
        self.at += 1;
        if it == '\n' {
            self.line += 1;
        }
        it
    }

    fn step(&mut self) {
        let line = self.line;
        let piece = match (self.peek(0), self.peek(1)) {
            ('/', '/') => return self.line_comment(),
            ('/', '*') => return self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => return self.quote(),
            ('b', '\'') => {
                self.take();
                return self.quote();
            }
            (it, _) if it.is_alphanumeric() || it == '_' => match self.raw_string() {
                Some(piece) => piece,
                None => self.word(),
            },
            (it, _) if it.is_whitespace() => {
                self.take();
                return;
            }
            _ => Piece::Mark(self.take()),
        };
        self.found.push(Token { piece, line });
    }

    fn line_comment(&mut self) {
        while self.at < self.rest.len() && self.peek(0) != '\n' {
            self.take();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take();
                    continue;
                }
            }
            self.take();
            self.take();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> Piece {
        self.take();
        let mut inside = String::new();
        while self.at < self.rest.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                inside.push(self.take());
            }
            inside.push(self.take());
        }
        self.take();
        Piece::Text(inside)
    }

    /// `r"…"`, `br#"…"#` and the like, when one begins here.
    fn raw_string(&mut self) -> Option<Piece> {
        let prefix = (0..3)
            .take_while(|ahead| matches!(self.peek(*ahead), 'r' | 'b' | 'c'))
            .count();
        let hashes = (prefix..).take_while(|ahead| self.peek(*ahead) == '#').count();
        if prefix == 0 || self.peek(prefix + hashes) != '"' {
            return None;
        }
        if self.peek(prefix - 1) != 'r' {
            self.at += prefix;
            return Some(self.string());
        }
        self.at += prefix + hashes + 1;
        let mut inside = String::new();
        while self.at < self.rest.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes + 1;
                break;
            }
            inside.push(self.take());
        }
        Some(Piece::Text(inside))
    }

    fn word(&mut self) -> Piece {
        let mut word = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            word.push(self.take());
        }
        if word == "r" && self.peek(0) == '#' && (self.peek(1).is_alphabetic() || self.peek(1) == '_') {
            self.take();
            return self.word();
        }
        Piece::Word(word)
    }

    /// A character literal is skipped; of a lifetime only the quote is, its name is a word like others.
    fn quote(&mut self) {
        let literal = self.peek(1) == '\\' || self.peek(2) == '\'';
        self.take();
        if literal {
            if self.take() == '\\' {
                self.take();
            }
            while self.at < self.rest.len() && self.take() != '\'' {}
        }
    }
}

//! Reads an expression into its tree. Macros are recognised here, by name and number of arguments.
//!
//! Length, nesting and the height of the tree (which grows with every link of a chain such as `a + b + c`) are limited, so
//! that no expression can exhaust the stack, here or where the tree is walked.

use super::{
    ast::{Expr, Fold, How, Kind, Literal, Operator},
    lexer::{self, Token, Unreadable, What},
    library,
    types::RESERVED,
};

/// How deep expressions may be nested.
const MAX_DEPTH: usize = 96;
/// How high the tree may be.
const MAX_HEIGHT: usize = 120;
/// How long an expression may be, in bytes.
const MAX_LENGTH: usize = 100_000;

/// The tree of a text, and how many nodes it has.
pub(super) fn parse(text: &str) -> Result<(Expr, usize), Unreadable> {
    if text.len() > MAX_LENGTH {
        let why =
            format!("expression code point size exceeds limit: size: {}, limit {MAX_LENGTH}", text.len());
        return Err(Unreadable { at: 0, why });
    }
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens, next: 0, nodes: 0, depth: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        What::End => Ok((expr, parser.nodes)),
        other => Err(parser.mismatched(&other.clone(), "<EOF>")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    nodes: usize,
    depth: usize,
}

type Parsed = Result<Expr, Unreadable>;

impl Parser {
    fn peek(&self) -> &What {
        &self.tokens[self.next].what
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> What {
        let what = self.tokens[self.next].what.clone();
        // The end stays.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        what
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), What::Sign(s) if *s == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Unreadable> {
        if self.eat(sign) { Ok(()) } else { Err(self.unexpected(&self.peek().clone())) }
    }

    fn unexpected(&self, what: &What) -> Unreadable {
        self.mismatched(what, "an expression or operator")
    }

    fn mismatched(&self, what: &What, wanted: &str) -> Unreadable {
        let shown = match what {
            What::End => "<EOF>".to_owned(),
            What::Sign(s) => (*s).to_owned(),
            What::Ident(name) => name.clone(),
            What::Literal(Literal::String(text)) => format!("{text:?}"),
            What::Literal(Literal::Int(n)) => n.to_string(),
            What::Literal(literal) => format!("{literal:?}"),
        };
        Unreadable { at: self.at(), why: format!("mismatched input '{shown}' expecting {wanted}") }
    }

    fn node(&mut self, at: usize, kind: Kind) -> Parsed {
        let highest = kind.parts().iter().map(|part| part.height).max().unwrap_or(0);
        // What goes into a macro may stand in what its body makes: the value is as high as both.
        let height = 1 + match &kind {
            Kind::Fold(fold) => highest.max(fold.range.height + fold.body.as_ref().map_or(0, |b| b.height)),
            Kind::OptMap { target: a, body: b, .. } | Kind::Bind { value: a, body: b, .. } => {
                a.height + b.height
            }
            _ => highest,
        };
        if height > MAX_HEIGHT {
            return Err(too_deep(at, MAX_HEIGHT));
        }
        self.nodes += 1;
        Ok(Expr { id: self.nodes - 1, at, height, kind })
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.at(), MAX_DEPTH));
        }
        let condition = self.or()?;
        let at = self.at();
        let expr = if self.eat("?") {
            let yes = self.or()?;
            self.expect(":")?;
            let no = self.expression()?;
            self.node(at, Kind::Conditional(condition.into(), yes.into(), no.into()))?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn or(&mut self) -> Parsed {
        self.logical("||", Self::and, Kind::Or)
    }

    fn and(&mut self) -> Parsed {
        self.logical("&&", Self::relation, Kind::And)
    }

    /// A chain in which only the order of the operands matters: as low a tree as can be, so that long ones are fine.
    fn logical(
        &mut self,
        sign: &str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Box<Expr>, Box<Expr>) -> Kind,
    ) -> Parsed {
        let mut last = part(self)?;
        // Each with the sign behind it.
        let mut before = Vec::new();
        loop {
            let at = self.at();
            if !self.eat(sign) {
                break;
            }
            before.push((std::mem::replace(&mut last, part(self)?), at));
        }
        while !before.is_empty() {
            let mut joined = Vec::with_capacity(before.len().div_ceil(2));
            let mut rest = before.into_iter();
            while let Some((left, at)) = rest.next() {
                match rest.next() {
                    Some((right, next)) => {
                        joined.push((self.node(at, join(left.into(), right.into()))?, next))
                    }
                    None => last = self.node(at, join(left.into(), last.into()))?,
                }
            }
            before = joined;
        }
        Ok(last)
    }

    fn binary(&mut self, known: &[(&str, Operator)], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        loop {
            let at = self.at();
            let Some((_, operator)) = known.iter().find(|(sign, _)| self.is(sign)) else { return Ok(left) };
            self.advance();
            let right = part(self)?;
            left = self.node(at, Kind::Binary(*operator, left.into(), right.into()))?;
        }
    }

    fn relation(&mut self) -> Parsed {
        let known = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            ("<=", Operator::LessEqual),
            (">", Operator::Greater),
            (">=", Operator::GreaterEqual),
            ("in", Operator::In),
        ];
        self.binary(&known, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.binary(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Parsed {
        let known = [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Modulo)];
        self.binary(&known, Self::unary)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(at, MAX_DEPTH));
        }
        let expr = if self.eat("!") {
            let of = self.unary()?;
            self.node(at, Kind::Not(of.into()))?
        } else if self.eat("-") {
            match self.peek() {
                What::Literal(Literal::Int(n)) => {
                    let n = *n;
                    self.advance();
                    let literal = self.node(at, Kind::Literal(Literal::Int(n.wrapping_neg())))?;
                    self.members(literal)?
                }
                What::Literal(Literal::Double(n)) => {
                    let n = *n;
                    self.advance();
                    let literal = self.node(at, Kind::Literal(Literal::Double(-n)))?;
                    self.members(literal)?
                }
                _ => {
                    let of = self.unary()?;
                    self.node(at, Kind::Negate(of.into()))?
                }
            }
        } else {
            let primary = self.primary()?;
            self.members(primary)?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        match self.advance() {
            What::Literal(Literal::Int(i64::MIN)) => {
                Err(Unreadable { at, why: "invalid int literal".into() })
            }
            What::Literal(literal) => self.node(at, Kind::Literal(literal)),
            What::Ident(name) => self.name(at, name),
            What::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            What::Sign("[") => self.list(at),
            What::Sign("{") => self.map(at),
            What::Sign(".") => match self.advance() {
                What::Ident(name) => self.name(at, name),
                other => Err(self.unexpected(&other)),
            },
            other => {
                let mut wrong = self.unexpected(&other);
                wrong.at = at;
                Err(wrong)
            }
        }
    }

    fn name(&mut self, at: usize, name: String) -> Parsed {
        if RESERVED.contains(&name.as_str()) {
            return Err(Unreadable { at, why: format!("reserved identifier: {name}") });
        }
        let open = self.at();
        if !self.eat("(") {
            return self.node(at, Kind::Ident(name));
        }
        let mut args = self.arguments(")")?;
        if name == "has" {
            let why = "invalid argument to has() macro";
            let Some(Kind::Select { of, field, optional: false }) =
                (args.len() == 1).then(|| args.remove(0).kind)
            else {
                return Err(Unreadable { at: open, why: why.into() });
            };
            return self.node(open, Kind::Has { of, field });
        }
        self.node(open, Kind::Call { target: None, name, args })
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Expr>, Unreadable> {
        let mut args = Vec::new();
        while !self.eat(end) {
            args.push(self.expression()?);
            if !self.eat(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(args)
    }

    fn list(&mut self, at: usize) -> Parsed {
        let mut items = Vec::new();
        while !self.eat("]") {
            let optional = self.eat("?");
            items.push((self.expression()?, optional));
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        self.node(at, Kind::List(items))
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, Kind::Map(entries))
    }

    /// What follows a primary: fields, indexes, calls.
    fn members(&mut self, mut of: Expr) -> Parsed {
        loop {
            let at = self.at();
            if self.eat("[") {
                let optional = self.eat("?");
                let key = self.expression()?;
                self.expect("]")?;
                of = self.node(at, Kind::Index { of: of.into(), key: key.into(), optional })?;
            } else if self.eat(".") {
                let optional = self.eat("?");
                let name_at = self.at();
                let field = match self.advance() {
                    What::Ident(name) => name,
                    other => {
                        let mut wrong = self.unexpected(&other);
                        wrong.at = name_at;
                        return Err(wrong);
                    }
                };
                let open = self.at();
                if !optional && self.eat("(") {
                    let args = self.arguments(")")?;
                    of = self.member_call(open, of, field, args)?;
                } else {
                    of = self.node(at, Kind::Select { of: of.into(), field, optional })?;
                }
            } else if let Some(name) = of.qualified()
                && self.eat("{")
            {
                let fields = self.fields()?;
                of = self.node(at, Kind::Message { name, fields })?;
            } else {
                return Ok(of);
            }
        }
    }

    /// The fields of a message, behind its opening brace.
    fn fields(&mut self) -> Result<Vec<(String, Expr, bool)>, Unreadable> {
        let mut fields = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let at = self.at();
            let name = match self.advance() {
                What::Ident(name) => name,
                other => {
                    let mut wrong = self.unexpected(&other);
                    wrong.at = at;
                    return Err(wrong);
                }
            };
            self.expect(":")?;
            fields.push((name, self.expression()?, optional));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(fields)
    }

    fn member_call(&mut self, at: usize, target: Expr, name: String, args: Vec<Expr>) -> Parsed {
        if let Kind::Ident(space) = &target.kind
            && library::has_function(&format!("{space}.{name}"))
        {
            let name = format!("{space}.{name}");
            return self.node(at, Kind::Call { target: None, name, args });
        }
        let known = match (name.as_str(), args.len()) {
            ("all", 2 | 3) => Some((How::All, args.len() - 1)),
            ("exists", 2 | 3) => Some((How::Exists, args.len() - 1)),
            ("exists_one", 2 | 3) | ("existsOne", 3) => Some((How::ExistsOne, args.len() - 1)),
            ("map", 2 | 3) => Some((How::Map, 1)),
            ("filter", 2) => Some((How::Filter, 1)),
            ("transformList", 3 | 4) => Some((How::Map, 2)),
            ("transformMap", 3 | 4) => Some((How::TransformMap, 2)),
            ("transformMapEntry", 3 | 4) => Some((How::TransformMapEntry, 2)),
            ("sortBy", 2) => return self.sort_by(at, target, args),
            ("optMap" | "optFlatMap", 2) => return self.opt_map(at, target, name == "optFlatMap", args),
            _ => None,
        };
        match known {
            Some((how, vars)) => self.fold(at, target, how, vars, args),
            None => self.node(at, Kind::Call { target: Some(target.into()), name, args }),
        }
    }

    fn fold(&mut self, at: usize, range: Expr, how: How, vars: usize, args: Vec<Expr>) -> Parsed {
        let mut args = args.into_iter();
        let names = args.by_ref().take(vars).map(variable).collect::<Result<Vec<_>, _>>()?;
        let mut rest: Vec<Expr> = args.collect();
        let last = rest.pop();
        let (filter, body) = match how {
            How::All | How::Exists | How::ExistsOne | How::Filter => (last, None),
            How::Map | How::TransformMap | How::TransformMapEntry => (rest.pop(), last),
        };
        let fold = Fold { how, range, vars: names, filter, body };
        self.node(at, Kind::Fold(fold.into()))
    }

    /// `list.sortBy(x, key)`: the list bound to a name, and ordered by what `map` makes of it.
    fn sort_by(&mut self, at: usize, list: Expr, args: Vec<Expr>) -> Parsed {
        const INPUT: &str = "@__sortBy_input__";
        let input = |parser: &mut Self| parser.node(at, Kind::Ident(INPUT.into()));
        let range = input(self)?;
        let keys = self.fold(at, range, How::Map, 1, args)?;
        let call =
            Kind::Call { target: Some(input(self)?.into()), name: library::SORT_BY.into(), args: vec![keys] };
        let body = self.node(at, call)?;
        self.node(at, Kind::Bind { var: INPUT.into(), value: list.into(), body: body.into() })
    }

    fn opt_map(&mut self, at: usize, target: Expr, flat: bool, mut args: Vec<Expr>) -> Parsed {
        let body = args.remove(1);
        let var = variable(args.remove(0))?;
        self.node(at, Kind::OptMap { target: target.into(), var, body: body.into(), flat })
    }
}

fn too_deep(at: usize, limit: usize) -> Unreadable {
    Unreadable { at, why: format!("expression recursion limit exceeded: {limit}") }
}

/// A macro's variable must be a plain name.
fn variable(expr: Expr) -> Result<String, Unreadable> {
    match expr.kind {
        Kind::Ident(name) if name != "__result__" => Ok(name),
        _ => Err(Unreadable { at: expr.at, why: "argument must be a simple name".into() }),
    }
}

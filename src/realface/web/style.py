"""How the page looks, in light and in dark, beside what it has in common with the report: one style sheet."""

STYLE = """
.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 3rem }
.stButton button, .stDownloadButton button { min-height: 2.75rem } .stButton button[kind=primary] { min-width: 10rem }
.stButton p, .stDownloadButton p { font-size: 1rem; font-weight: 600 }
.rf { --real: light-dark(#14663a, #57c78d); --fake: light-dark(#b3261e, #ff8a80); --line: light-dark(#c9ced8, #454c5a);
  --soft: color-mix(in srgb, currentColor 5%, transparent); --quiet: light-dark(#4d5565, #b4bccb); line-height: 1.5 }
.rf h1 { display: flex; gap: .75rem; align-items: center; font-size: 2.25rem; padding: 0; margin: 0 }
.rf h2 { font-size: 1.0625rem; font-weight: 600; padding: 0; margin: 0 0 .5rem; overflow-wrap: anywhere }
.rf h3 { font-size: 1rem; font-weight: 600; padding: 0; margin: 0 }
.rf p, p.rf { margin: 0 } .rf ul { margin: 0; padding-left: 1.25rem } .rf li { margin: .25rem 0 }
.rf-icon { flex: none; width: 2.5rem; height: 2.5rem; background: currentColor; mask: center / contain no-repeat }
.rf-lead { font-size: 1.125rem } .rf-quiet { color: var(--quiet); font-size: .9375rem; overflow-wrap: anywhere }
.rf-private { display: flex; gap: .5rem; align-items: center; margin-top: .5rem !important; color: var(--real) }
.rf-private .rf-icon { width: 1.25rem; height: 1.25rem }
.rf-box { border: 1px solid var(--line); border-radius: .75rem; padding: 1rem }
.rf-soft { background: var(--soft) }
.rf-card { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); align-items: start }
.rf-head, .rf-known, .rf-answer { display: flex; flex-direction: column; gap: .75rem; min-width: 0 }
.rf-head h2 { margin: 0 }
@media (min-width: 42rem) {
  .rf-one { grid-template: auto 1fr / 13rem minmax(0, 1fr) }
  .rf-one .rf-picture { grid-area: 1 / 1 / span 2 }
}
.rf-picture { position: relative; width: fit-content; max-width: 100% }
.rf-picture img { display: block; max-width: 100%; width: auto; height: auto; max-height: 18rem; border-radius: 6px }
.rf-many .rf-picture img { max-height: 26rem }
.rf-picture i { position: absolute; border: 2px solid #fff; outline: 2px solid #000; outline-offset: -3px }
.rf-picture b { position: absolute; left: -2px; bottom: 100%; min-width: 1.25rem; padding: 0 .25rem; text-align: center;
  background: #000; color: #fff; border: 1px solid #fff; font: 600 .8125rem/1.125rem sans-serif }
.rf-picture .rf-top b { bottom: auto; top: -2px }
.rf-faces { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)) }
.rf-face { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: flex-start; min-width: 0 }
.rf-many .rf-face { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem }
.rf-crop { margin: 0; width: 7rem } .rf-crop div { position: relative }
.rf-crop img { display: block; width: 100%; height: auto; border-radius: 6px }
.rf-crop img + img { position: absolute; inset: 0 }
.rf-crop figcaption { font-size: .8125rem; color: var(--quiet) }
.rf-hot .rf-crop { width: 12rem }
.rf-answer { flex: 1 1 9rem }
.rf-face h3, .rf-face .rf-verdict { flex: 1 0 100% }
.rf-face .rf-verdict .rf-icon { width: 1.75rem; height: 1.75rem }
.rf table { width: 100%; border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums }
.rf caption { text-align: left; font-weight: 600; padding-bottom: .25rem; color: inherit }
.rf th, .rf td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; font-weight: 400;
  border: 0; border-top: 1px solid var(--line) }
.rf th[scope=row], .rf td[colspan] { overflow-wrap: anywhere; min-width: 6rem }
.rf th[scope=row] { width: 40% }
.rf td:not([colspan]) { white-space: nowrap }
.rf thead th { font-weight: 600; border-top: 0 }
.stColumn :is(.stElementContainer, .stButton, .stDownloadButton, button) { width: 100% }
.stPageLink p { text-decoration: underline }
@media (max-width: 42rem) {
  .stMarkdown table { display: block; overflow-x: auto } .stMarkdown :is(th, td) { padding: .125rem .375rem }
}
"""

// Small pictures for stamps and for the bots. Each letter is a colour, and a point is transparent.

export interface Sprite {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** `#rrggbb`, or `undefined` for transparent. x fastest. */
  readonly colors: readonly (string | undefined)[];
}

const COLORS: Readonly<Record<string, string>> = {
  ...{ k: "#1f2430", w: "#ffffff", a: "#999999", r: "#e03131", R: "#990000", o: "#ff7f00", y: "#ffd433" },
  ...{ g: "#33aa33", G: "#007f33", b: "#3366ff", c: "#66d4ff", p: "#ff99cc", n: "#995500", N: "#663300" },
  s: "#ffd499",
};

function sprite(name: string, art: string): Sprite {
  const rows = art.trim().split("\n").map((row) => row.trim());
  const width = Math.max(...rows.map((row) => row.length));
  const colors = rows.flatMap((row) => Array.from({ length: width }, (_, x) => COLORS[row[x] ?? "."]));
  return { name, width, height: rows.length, colors };
}

export const SPRITES: readonly Sprite[] = [
  sprite("heart", `
    ..kk...kk..
    .krrk.krrk.
    krwwrkrrrrk
    krwrrrrrrRk
    krrrrrrrrRk
    .krrrrrrRk.
    ..krrrrRk..
    ...krrRk...
    ....kRk....
    .....k.....`),
  sprite("cat", `
    k..........k
    kok......kok
    kook....kook
    kooookkooook
    kooooooooook
    koowkookwook
    kookkookkook
    kooooppooook
    kooookkooook
    .kooooooook.
    ..kkkkkkkk..`),
  sprite("flower", `
    ...kkkkk...
    ..kpppppk..
    .kppkkkppk.
    kppkyyykppk
    kppkyyykppk
    kppkyyykppk
    .kppkkkppk.
    ..kpppppk..
    ...kkgkk...
    .kk.kgk.kk.
    kggkkgkkggk
    .kkgggggkk.
    ...kkgkk...`),
  sprite("mushroom", `
    ....kkkk....
    ..kkrrrrkk..
    .krrwwrrrrk.
    .krwwwwrrwk.
    krrrwwrrrwwk
    krrrrrrrrrwk
    kwwrrrwwrrrk
    kkkkkkkkkkkk
    ..kskssksk..
    ..kskssksk..
    ..kssssssk..
    ...kkkkkk...`),
  sprite("fish", `
    .....kkkk.....
    k...kccccckk..
    kk.kcccccwkck.
    kbkkcccccccck.
    kbbbcbbcccccck
    kbkkccccccppk.
    kk.kbcccccck..
    k...kbbbbkk...
    .....kkkk.....`),
  sprite("tree", `
    .....kk.....
    ....kggk....
    ...kgggGk...
    ..kgggggGk..
    ...kgggGk...
    ..kgggggGk..
    .kgggggggGk.
    ..kgggggGk..
    .kgggggggGk.
    kgggggggggGk
    kkkkknNkkkkk
    ....knNk....
    ....knNk....
    ....kkkk....`),
  sprite("rocket", `
    .....k.....
    ....krk....
    ...krrrk...
    ...kwwwk...
    ..kwkkkwk..
    ..kwkckwk..
    ..kwkkkwk..
    ..kwwwwwk..
    .krwwwwwrk.
    krrwwwwwrrk
    krrkwwwkrrk
    krkkaaakkrk
    kk..yoy..kk
    ....yoy....
    .....o.....`),
  sprite("sun", `
    ......y......
    ..y...y...y..
    ...y.....y...
    .....ooo.....
    ....oyyyo....
    ...oyyyyyo...
    yy.oykykyo.yy
    ...oyyyyyo...
    ....oyyyo....
    .....ooo.....
    ...y.....y...
    ..y...y...y..
    ......y......`),
  sprite("ghost", `
    ...kkkkkk...
    ..kwwwwwwk..
    .kwwwwwwwwk.
    .kwkkwwkkwk.
    kwwkbwwkbwwk
    kwwkkwwkkwwk
    kwpwwwwwwpwk
    kwwwwkkwwwwk
    kwwwwwwwwwwk
    kwwwwwwwwwwk
    kwkwwkkwwkwk
    .k.kk..kk.k.`),
  sprite("house", `
    ......kk......
    .....krrk.....
    ....krrrrk.kk.
    ...krrrrrrkrk.
    ..krrrrrrrrrk.
    .krrrrrrrrrrk.
    kkkkkkkkkkkkkk
    .kssssssssssk.
    .kskkksskkksk.
    .kskcksskNksk.
    .kskkksskNksk.
    .kkkkkkkkkkkk.`),
  sprite("star", `
    ......k......
    .....kyk.....
    .....kyk.....
    ....kyyyk....
    kkkkkyyykkkkk
    kyyyyyyyyyyyk
    .kyyykykyyyk.
    ..kyyyyyyyk..
    ..kyyyyyyyk..
    .kyyyykyyyyk.
    .kyykk.kkyyk.
    kkk.......kkk`),
  sprite("duck", `
    ....kkkk....
    ...kyyyyk...
    ..kyykyyyk..
    kkkyyyyyyk..
    kooyyyyyyk..
    .kkkyyyyk..k
    ...kyyyykkyk
    ..kyyyyyyyyk
    ..kyyoooyyyk
    ..kyyyyyyyk.
    ...kkkkkkk..`),
];

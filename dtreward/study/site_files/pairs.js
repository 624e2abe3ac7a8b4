// Lists a study's pairs by filters. The data stand in the page as JSON; they only become text.
"use strict";

(() => {
  const AT_A_TIME = 20;
  const find = (name) => document.getElementById(`pairs-${name}`);
  const data = JSON.parse(find("data").textContent);
  const controls = {
    tree: find("tree"),
    node: find("node"),
    first: find("first"),
    relation: find("relation"),
    second: find("second"),
    split: find("split"),
  };
  const GROUPS = [
    ["0", "Response 1"],
    ["1", "Response 2"],
    ["f", "The one shown first, in both orders"],
    ["s", "The one shown second, in both orders"],
    ["i", "Not the same response in both orders"],
    ["n", "No usable answer"],
  ];
  const WAVERING = ["f", "s", "i"];
  const ANY_JUDGE = "any";
  const RATERS = data.judges.map((judge) => ({ name: judge.name, judge }));
  const FIRST_TREE = RATERS.length;
  data.trees.forEach((tree) => RATERS.push({ name: `tree ${tree.name}`, tree }));
  const PEOPLE = RATERS[0];
  let matches = [];
  let shown = 0;

  function element(tag, text, className) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) {
      made.className = className;
    }
    return made;
  }

  function addOption(select, value, text) {
    const option = element("option", text);
    option.value = value;
    select.append(option);
  }

  function addRaters(select, raters, label) {
    if (!raters.length) {
      return;
    }
    const group = document.createElement("optgroup");
    group.label = label;
    raters.forEach((rater) => addOption(group, String(RATERS.indexOf(rater)), rater.name));
    select.append(group);
  }

  function fillControls() {
    addOption(controls.tree, "", "(no tree)");
    data.trees.forEach((tree, number) => addOption(controls.tree, String(number), `tree ${tree.name}`));
    if (FIRST_TREE > 1) {
      addOption(controls.first, ANY_JUDGE, "Any judge");
    }
    for (const select of [controls.first, controls.second]) {
      addRaters(select, RATERS.slice(0, FIRST_TREE), "People and judges");
      addRaters(select, RATERS.slice(FIRST_TREE), "Trees");
    }
    addOption(controls.split, "", "(all)");
    const order = ["train", "validation", "test"];
    const known = order.filter((split) => data.split.includes(split));
    const others = data.split.filter((split) => !order.includes(split));
    new Set([...known, ...others]).forEach((split) => addOption(controls.split, split, split));
  }

  function chosenTree() {
    return data.trees[controls.tree.value];
  }

  function fillNodes() {
    controls.node.replaceChildren();
    const tree = chosenTree();
    controls.node.disabled = !tree;
    if (!tree) {
      return;
    }
    tree.nodes.forEach((node, number) => {
      const kind = node.last === number ? "leaf" : "split";
      const indent = "\u00a0\u00a0".repeat(node.level);
      addOption(controls.node, String(number), `${indent}${kind} ${number}: ${node.label}`);
    });
  }

  // "0" or "1" where the rater prefers a response, else the code of what came instead.
  function codeOf(rater, row) {
    if (rater.judge) {
      return rater.judge.codes[row];
    }
    return rater.tree.nodes[rater.tree.leaf[row]].second > 0.5 ? "1" : "0";
  }

  function isPreference(code) {
    return code === "0" || code === "1";
  }

  function wavers(rater, row) {
    return rater.tree ? rater.tree.wavers[row] === "1" : WAVERING.includes(codeOf(rater, row));
  }

  function compares(first, second, row, isSameWanted) {
    const codes = [codeOf(first, row), codeOf(second, row)];
    const isSame = codes[0] === codes[1];
    return first !== second && codes.every(isPreference) && isSame === isSameWanted;
  }

  function holds(first, relation, second, row) {
    if (relation === "wavers") {
      return wavers(first, row);
    }
    return compares(first, second, row, relation === "agrees");
  }

  function chosenRaters() {
    const second = RATERS[controls.second.value];
    if (controls.first.value !== ANY_JUDGE) {
      return { firsts: [RATERS[controls.first.value]], second };
    }
    return { firsts: RATERS.slice(1, FIRST_TREE), second }; // people stand first
  }

  function reachesNode(row) {
    const tree = chosenTree();
    if (!tree) {
      return true;
    }
    const node = Number(controls.node.value);
    const leaf = tree.leaf[row];
    return node <= leaf && leaf <= tree.nodes[node].last;
  }

  function findMatches() {
    const relation = controls.relation.value;
    const split = controls.split.value;
    const { firsts, second } = chosenRaters();
    const relates = (row) => firsts.some((first) => holds(first, relation, second, row));
    return data.pair
      .map((pair, row) => row)
      .filter((row) => split === "" || data.split[row] === split)
      .filter(reachesNode)
      .filter((row) => relation === "any" || relates(row));
  }

  function signed(value) {
    if (value === null) {
      return "–";
    }
    const sign = value > 0 ? "+" : "";
    return `${sign}${value}`.replaceAll("-", "−");
  }

  function differenceTable(row) {
    const block = element("div", "", "pairs-differences");
    const table = document.createElement("table");
    block.append(table);
    const head = table.createTHead().insertRow();
    const names = Object.keys(data.differences);
    ["difference", ...names].forEach((name) => head.append(element("th", name)));
    const body = table.createTBody();
    data.attributes.forEach((attribute, place) => {
      const line = body.insertRow();
      line.append(element("th", attribute));
      names.forEach((name) => line.append(element("td", signed(data.differences[name][place][row]))));
    });
    return block;
  }

  function spoken(rater, row) {
    if (rater.judge) {
      return rater.name;
    }
    const second = rater.tree.nodes[rater.tree.leaf[row]].second;
    const probability = Math.max(second, 1 - second);
    return `${rater.tree.name} ${(100 * probability).toFixed(1)}\u00a0%`;
  }

  function isChosen(rater) {
    const { firsts, second } = chosenRaters();
    const relation = controls.relation.value;
    if (rater.tree && rater.tree === chosenTree()) {
      return true;
    }
    if (relation === "any") {
      return false;
    }
    const isOther = rater === second && relation !== "wavers";
    return isOther || (firsts.includes(rater) && controls.first.value !== ANY_JUDGE);
  }

  function verdictList(raters, title, row) {
    const block = element("div", "", "pairs-verdicts");
    block.append(element("p", title, "pairs-title"));
    const list = document.createElement("dl");
    for (const [code, words] of GROUPS) {
      const names = raters.filter((rater) => codeOf(rater, row) === code);
      if (names.length) {
        list.append(element("dt", words));
        const places = document.createElement("dd");
        names.forEach((rater, place) => {
          const tag = isChosen(rater) ? "strong" : "span";
          places.append(place ? ", " : "", element(tag, spoken(rater, row)));
        });
        list.append(places);
      }
    }
    block.append(list.children.length ? list : element("p", "nobody was asked"));
    return block;
  }

  function textBlock(row) {
    const block = element("div", "", "pairs-texts");
    const texts = data.texts[row];
    if (!texts) {
      block.append(element("p", "The page has no room for the texts of this pair."));
      return block;
    }
    ["Prompt", "Response 1", "Response 2"].forEach((title, place) => {
      const part = document.createElement("div");
      part.append(element("p", title, "pairs-title"), element("p", texts[place], "pairs-text"));
      block.append(part);
    });
    return block;
  }

  function pairItem(row) {
    const item = document.createElement("li");
    const [first, second] = data.words.map((counts) => counts[row].toLocaleString("en"));
    const head = element("p", "", "pairs-head");
    head.append(
      element("strong", `Pair ${data.pair[row]}`),
      ` · prompt ${data.prompt[row]} · ${data.split[row]} · ${first} and ${second} words`,
    );
    item.append(head);
    if (data.texts) {
      item.append(textBlock(row));
    }
    const facts = element("div", "", "pairs-facts");
    facts.append(differenceTable(row));
    facts.append(verdictList(RATERS.slice(0, FIRST_TREE), "People and judges prefer", row));
    if (data.trees.length) {
      facts.append(verdictList(RATERS.slice(FIRST_TREE), "Trees prefer", row));
    }
    item.append(facts);
    return item;
  }

  function showMore() {
    const next = matches.slice(shown, shown + AT_A_TIME);
    find("list").append(...next.map(pairItem));
    shown += next.length;
    const left = matches.length - shown;
    find("more").hidden = left === 0;
    find("more").textContent = `Show ${Math.min(left, AT_A_TIME)} more`;
    const numbers = [matches.length, data.pair.length].map((count) => count.toLocaleString("en"));
    find("count").textContent =
      `${numbers[0]} of ${numbers[1]} listed pairs; ${shown.toLocaleString("en")} are shown.`;
  }

  function relationWords() {
    const relation = controls.relation.value;
    const { firsts, second } = chosenRaters();
    if (relation === "any") {
      return "";
    }
    if (relation === "wavers") {
      return firsts[0] === PEOPLE ? "People were asked in one order alone." : "";
    }
    if (firsts[0] === second) {
      return "Choose two different names.";
    }
    return "Pairs on which both have a preference.";
  }

  function update() {
    const relation = controls.relation.value;
    controls.second.disabled = relation === "any" || relation === "wavers";
    controls.first.disabled = relation === "any";
    const tree = chosenTree();
    find("node-words").textContent = tree ? tree.nodes[controls.node.value].words : "";
    find("relation-words").textContent = relationWords();
    find("list").replaceChildren();
    shown = 0;
    matches = findMatches();
    showMore();
  }

  function start() {
    fillControls();
    fillNodes();
    controls.tree.addEventListener("change", fillNodes);
    find("form").addEventListener("change", update);
    find("form").addEventListener("reset", () => {
      setTimeout(() => {
        fillNodes();
        update();
      });
    });
    find("more").addEventListener("click", showMore);
    find("nodes").hidden = data.trees.length === 0;
    find("disagreement").hidden = RATERS.length === 1;
    find("form").hidden = false;
    update();
  }

  start();
})();
